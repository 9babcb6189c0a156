import type { Command } from 'commander'
import { examples, jsonOption, whole } from '../arguments.js'

export interface InspectSettings {
  preset?: string
  options?: string | true
  batch: number
  length?: number
  json?: boolean
}

export function addInspect(program: Command): void {
  const command = program
    .command('inspect')
    .summary('look at a model, or at the options that there are')
    .description(
      'Shows what a model consists of: its parts and parameters, memory, the operations for each token, and what each of its options does.',
    )
    .argument('[model]', 'a model, the folder of a run, or a configuration (.json)')
    .option('--preset <name>', 'the model of a preset')
    .option('--options [class]', 'every option of a class, or what classes there are')
    .option('--batch <n>', 'rows of a batch, for the memory of training', whole(1), 1)
    .option('--length <n>', 'tokens of a row (default: max_seq_len)', whole(1))
    .addOption(jsonOption())
  examples(command, [
    ['inspect runs/book', 'a trained model'],
    ['inspect --preset nanogpt-cpu', 'a model that is not trained yet'],
    ['inspect --options Decoder', 'what can be set'],
  ])
  command.action(async (model: string | undefined, settings: InspectSettings) => {
    const { inspect } = await import('../model/inspect.js')
    await inspect(model, settings)
  })
}
