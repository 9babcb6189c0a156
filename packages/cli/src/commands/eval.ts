import type { Command } from 'commander'
import {
  addRuntimeOptions,
  examples,
  jsonOption,
  type RuntimeSettings,
  whole,
} from '../arguments.js'

export interface EvalSettings extends RuntimeSettings {
  data?: string[]
  field?: string
  dtype?: 'u16' | 'u32'
  length?: number
  batchSize: number
  json?: boolean
}

export function addEval(program: Command): void {
  const command = program
    .command('eval')
    .summary('measure a model on text')
    .description(
      'Says how well a model predicts text: the loss in nats for each token, perplexity, accuracy (the share of tokens that it holds likeliest), bits per token, and bits per byte, which models with other tokenizers can be compared by.',
    )
    .argument('<model>', 'the folder of a run, a checkpoint in it, or a .safetensors file')
    .option('--data <files...>', 'text to measure on (default: what the run has held out)')
    .option('--field <name>', 'the field of JSON Lines that has the text')
    .option('--dtype <type>', 'of token ids in .bin files: u16 or u32')
    .option(
      '--length <n>',
      'tokens that the model reads at once (default: as in training)',
      whole(1),
    )
    .option('--batch-size <n>', 'rows that are computed together', whole(1), 16)
    .addOption(jsonOption())
  addRuntimeOptions(command)
  examples(command, [
    ['eval runs/book', 'on the text that its training has held out'],
    ['eval runs/book --data other.txt --json', 'on another text, for a program'],
  ])
  command.action(async (model: string, settings: EvalSettings) => {
    const { evaluate } = await import('../model/evaluate.js')
    await evaluate(model, settings)
  })
}
