import type { Command } from 'commander'
import {
  addRuntimeOptions,
  examples,
  jsonOption,
  positive,
  type RuntimeSettings,
  whole,
} from '../arguments.js'

export interface TrainSettings extends RuntimeSettings {
  preset?: string
  data?: string[]
  validation?: string
  tokenizer?: string
  out?: string
  resume?: boolean
  overwrite?: boolean
  init?: string
  steps?: number
  minutes?: number
  seed?: number
  set?: string[]
  json?: boolean
  presets?: boolean
  schema?: boolean
  dryRun?: boolean
}

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .summary('train a model on text')
    .description(
      'Trains a model as a configuration or a preset says. Ctrl-C ends after the current step, with a checkpoint; a second one ends at once.',
    )
    .argument('[config]', 'a configuration: a file of JSON')
    .option('--preset <name>', 'a configuration that comes with the package')
    .option('--data <files...>', 'text (.txt), JSON Lines (.jsonl) or token ids (.bin)')
    .option('--validation <what>', 'the share of the data that is held out, or a file')
    .option('--tokenizer <what>', 'char, byte, bpe, or a tokenizer.json')
    .option('--out <folder>', 'where the run is kept')
    .option('--resume', 'go on from the last checkpoint in --out, where there is one')
    .option('--overwrite', 'replace the run that is in --out')
    .option('--init <model>', 'begin with the weights of a trained model')
    .option('--steps <n>', 'train this many steps', whole(1))
    .option('--minutes <n>', 'train this long', positive)
    .option('--seed <n>', 'seed of everything random', whole(0))
    .option('--set <key=value...>', 'change the configuration: train.batch_size=32, depth=6')
    .option('--presets', 'list the presets, and end')
    .option('--schema', 'print the JSON schema of configurations, and end')
    .option('--dry-run', 'print the whole configuration, and end')
    .addOption(jsonOption())
  addRuntimeOptions(command)
  examples(command, [
    ['train --preset nanogpt-cpu --data book.txt --out runs/book', 'a character model, minutes'],
    ['train --resume --out runs/book', 'goes on where it was stopped'],
    ['train config.json --out runs/mine --set depth=6 optimizer.lr=3e-4', 'with changes'],
    ['train --preset nanogpt-cpu --dry-run > config.json', 'a configuration to begin with'],
  ])
  command.action(async (config: string | undefined, settings: TrainSettings) => {
    const { train } = await import('../train/command.js')
    await train(config, settings)
  })
}
