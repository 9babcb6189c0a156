// The command of `npm start`: x-transformers train with the book's preset, and a text at the end.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { Command } from 'commander'
import { positive, whole } from '../../packages/cli/src/arguments.js'
import { checkConfig } from '../../packages/cli/src/config/check.js'
import { readPreset } from '../../packages/cli/src/config/presets.js'
import type { Config } from '../../packages/cli/src/config/schema.js'
import { applySetting } from '../../packages/cli/src/config/set.js'
import { Interrupted, UsageError } from '../../packages/cli/src/errors.js'
import { FILES } from '../../packages/cli/src/files.js'
import { readJson } from '../../packages/cli/src/json.js'
import { openWriter } from '../../packages/cli/src/model/open.js'
import { writeText } from '../../packages/cli/src/model/write.js'
import { Output } from '../../packages/cli/src/output.js'
import { describeResult, trainConfig } from '../../packages/cli/src/train/command.js'
import { runFiles } from '../../packages/cli/src/train/folder.js'
import { command, userPath } from '../../scripts/command.js'
import { readBook } from './book.js'

const program = new Command('npm start --')
  .description(
    'Trains a small character GPT on "Moby Dick", shows the loss falling, and writes text in the style of the book.',
  )
  .option('--minutes <n>', 'how long to train', positive, 4)
  .option('--steps <n>', 'train this many steps, however long they take', whole(1))
  .option(
    '--json',
    'end with one JSON object on standard output; everything else goes to standard error',
  )
  .option('--out <dir>', 'folder for the run and its checkpoint', 'checkpoints')
  .option(
    '--resume <file>',
    'go on from the weights of a checkpoint of the same sizes (the optimizer starts anew)',
  )
  .option('--seed <n>', 'seed of everything random', whole(0), 42)
  .option('--dim <n>', 'width of the model', whole(1), 160)
  .option('--depth <n>', 'layers', whole(1), 4)
  .option('--heads <n>', 'attention heads', whole(1), 4)
  .option('--batch <n>', 'rows per step', whole(1), 24)
  .option('--length <n>', 'characters per row', whole(2), 128)
  .option('--lr <n>', 'highest learning rate', positive, 3e-3)
  .option('--sample <n>', 'characters to write at the end', whole(0), 500)
  .option('--prompt <text>', 'what the written text starts with', 'Call me Ishmael. ')
  .option('--temperature <n>', 'of the sampling', positive, 0.8)

type Options = {
  minutes: number
  steps?: number
  json?: boolean
  out: string
  resume?: string
  seed: number
  dim: number
  depth: number
  heads: number
  batch: number
  length: number
  lr: number
  sample: number
  prompt: string
  temperature: number
}

const NAME = 'moby-dick'
const MODEL = `${NAME}.safetensors`

/** The preset, as the options change it. */
function configOf(options: Options, book: string): Config {
  const { dim, depth, heads, length, batch, lr, steps, minutes, seed, resume } = options
  if (dim % heads) program.error('--dim must be a multiple of --heads')
  const raw = readPreset(NAME)
  const { seconds: _, ...train } = raw.train as Record<string, unknown>
  raw.train = { ...train, ...(steps === undefined ? { seconds: minutes * 60 } : { steps }) }
  const init = resume === undefined ? {} : { init: userPath(resume) }
  const settings = {
    ...init,
    ...{ seed, 'data.files': [book], 'train.batch_size': batch, 'train.length': length },
    ...{ 'optimizer.lr': lr, 'schedule.min_lr': lr / 50, max_seq_len: length },
    ...{ dim, depth, heads, attn_dim_head: dim / heads },
    ...{ 'sample.prompt': options.prompt, 'sample.temperature': options.temperature },
  }
  for (const [key, value] of Object.entries(settings))
    applySetting(raw, `${key}=${JSON.stringify(value)}`)
  return checkConfig(raw, `the preset ${NAME}`)
}

/** How to call `npm run sample` for this checkpoint, from where the user is. */
function sampleAgain(checkpoint: string): string {
  const path = relative(userPath('.'), checkpoint)
  return `npm run sample -- ${/^[\w./-]+$/.test(path) ? path : JSON.stringify(path)} --prompt "The whale"`
}

/** A text of the trained model. */
async function write(checkpoint: string, options: Options, output: Output): Promise<string> {
  const { prompt, sample: tokens, temperature } = options
  output.write(prompt)
  if (tokens === 0) return prompt
  const writer = await openWriter(checkpoint)
  const { text } = await writeText(writer, { prompt, tokens, temperature }, (part) =>
    output.write(part),
  )
  return prompt + text
}

/**
 * Whether the run in a folder is one of this command, which the next one replaces: it has learned
 * from the book beside it.
 *
 * @throws UsageError where it is another one
 */
function replaces(out: string, book: string): boolean {
  const files = runFiles(out, MODEL)
  if (files.length === 0) return false
  const path = join(out, FILES.config)
  const config = existsSync(path) ? readJson(path, 'the configuration') : null
  const text: unknown = (config as Partial<Config> | null)?.data?.files?.[0]
  if (existsSync(book) && typeof text === 'string' && basename(text) === basename(book)) return true
  throw new UsageError(`${out} has another run (${files[0]}): give --out another folder`)
}

await command(async () => {
  const options = program.parse().opts<Options>()
  const output = new Output(options.json)
  const out = userPath(options.out)
  const checkpoint = join(out, MODEL)
  mkdirSync(out, { recursive: true })
  const book = join(out, `${NAME}.txt`)
  const overwrite = replaces(out, book)
  writeFileSync(book, readBook())
  const training = { out, overwrite, title: 'Moby Dick', name: NAME }
  const again = `\nWrite more:  ${sampleAgain(checkpoint)}`
  try {
    const {
      best: _,
      reason: __,
      ...result
    } = await trainConfig(configOf(options, book), training, output)
    output.line(`${describeResult(result)}\n`)
    const sample = await write(checkpoint, options, output)
    output.line(`\n${again}`)
    if (output.json) output.result({ ...result, sample })
  } catch (error) {
    // before its first step there is none
    if (error instanceof Interrupted && existsSync(checkpoint)) output.line(again)
    throw error
  }
})
