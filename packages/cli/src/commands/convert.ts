import { type Command, Option } from 'commander'
import { examples, jsonOption } from '../arguments.js'

export interface ConvertSettings {
  config?: string
  key?: string
  prefix?: string
  tokenizer?: string
  field?: string
  dtype?: 'f32' | 'f16' | 'bf16' | 'u16' | 'u32'
  weights?: boolean
  json?: boolean
}

export function addConvert(program: Command): void {
  const command = program
    .command('convert')
    .summary('write weights or text in another format')
    .description(
      'Reads weights (safetensors, PyTorch, an index of several files) and writes safetensors: with --config a whole model, which load() reads, else its weights. Without a second file it lists the names. Of text it makes a file of token ids.',
    )
    .argument('<from>', 'weights, a run, or text (.txt, .jsonl)')
    .argument('[to]', 'a .safetensors file, a .json file for the configuration, or .bin for ids')
    .option('--config <file>', 'the model that the weights are for: a configuration, or a run')
    .option('--key <path>', 'which state dict of a PyTorch file')
    .option('--prefix <text>', 'what all names begin with, such as model.')
    .option('--weights', 'write the weights alone, without the model')
    .option('--tokenizer <what>', 'for text: char, byte, or a tokenizer.json')
    .option('--field <name>', 'for .jsonl: the field that has the text')
    .addOption(
      new Option('--dtype <type>', 'type of the numbers').choices([
        ...['f32', 'f16', 'bf16'],
        ...['u16', 'u32'],
      ]),
    )
    .addOption(jsonOption())
  examples(command, [
    ['convert model.pt', 'the names and shapes of a file of PyTorch'],
    ['convert model.pt model.safetensors --config config.json', 'a whole model'],
    ['convert runs/book weights.safetensors --weights --dtype f16', 'half as large, for Python'],
    ['convert runs/book config.json', 'the configuration alone'],
    ['convert book.txt book.bin --tokenizer runs/book/tokenizer.json', 'text as token ids'],
  ])
  command.action(async (from: string, to: string | undefined, settings: ConvertSettings) => {
    const { convert } = await import('../model/convert.js')
    await convert(from, to, settings)
  })
}
