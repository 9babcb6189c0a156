import type { Command } from 'commander'
import {
  addRuntimeOptions,
  addSamplingOptions,
  examples,
  type RuntimeSettings,
  type SamplingSettings,
  whole,
} from '../arguments.js'

export interface ChatSettings extends RuntimeSettings, SamplingSettings {
  tokens: number
  stop?: string[]
  template: string
  forget?: boolean
}

export function addChat(program: Command): void {
  const command = program
    .command('chat')
    .summary('write with a model in turns')
    .description(
      'Reads a line, lets the model go on from all that was said, and reads the next one. Ctrl-C ends an answer; at the prompt it ends the command, as Ctrl-D and /exit do. /help has the rest.',
    )
    .argument('<model>', 'the folder of a run, a checkpoint in it, or a .safetensors file')
    .option('-n, --tokens <n>', 'the most tokens of an answer', whole(1), 200)
    .option('--stop <texts...>', 'an answer ends where the model writes one of these')
    .option('--template <text>', 'what the model reads for a line; {line} stands for it', '{line}')
    .option('--forget', 'answer each line by itself')
  addSamplingOptions(command)
  addRuntimeOptions(command)
  examples(command, [
    ['chat runs/book', 'a line, and how the model goes on'],
    ['chat runs/talk --template "User: {line}\\nBot:" --stop "User:"', 'a model of dialogues'],
  ])
  command.action(async (model: string, settings: ChatSettings) => {
    const { chat } = await import('../model/chat.js')
    await chat(model, settings)
  })
}
