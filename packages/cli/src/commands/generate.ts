import type { Command } from 'commander'
import {
  addRuntimeOptions,
  addSamplingOptions,
  examples,
  jsonOption,
  type RuntimeSettings,
  type SamplingSettings,
  whole,
} from '../arguments.js'

export interface GenerateSettings extends RuntimeSettings, SamplingSettings {
  prompt?: string
  tokens: number
  stop?: string[]
  json?: boolean
}

export function addGenerate(program: Command): void {
  const command = program
    .command('generate')
    .summary('let a trained model write')
    .description('Writes text that goes on from a prompt, token by token.')
    .argument('<model>', 'the folder of a run, a checkpoint in it, or a .safetensors file')
    .option('-p, --prompt <text>', 'what the text starts with; - reads it from standard input')
    .option('-n, --tokens <n>', 'how many tokens to write', whole(1), 200)
    .option('--stop <texts...>', 'ends where the model writes one of these')
    .addOption(jsonOption())
  addSamplingOptions(command)
  addRuntimeOptions(command)
  examples(command, [
    ['generate runs/book --prompt "The whale"', 'goes on from a prompt'],
    ['generate runs/book --temperature 0 --tokens 50', 'the likeliest text'],
    ['generate runs/book --prompt - < prompt.txt > text.txt', 'from a file into a file'],
  ])
  command.action(async (model: string, settings: GenerateSettings) => {
    const { generate } = await import('../model/generate.js')
    await generate(model, settings)
  })
}
