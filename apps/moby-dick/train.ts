// The command of `npm start`: trains a small character GPT on "Moby Dick" and lets it write.
import { mkdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { Command } from 'commander'
import {
  AutoregressiveWrapper,
  Decoder,
  load,
  manualSeed,
  TransformerWrapper,
} from 'x-transformers'
import { command, userPath } from '../../scripts/command.js'
import { positive, whole } from './arguments.js'
import { readBook } from './book.js'
import { Corpus } from './corpus.js'
import { Display } from './display.js'
import { INTERRUPTED, Interrupt } from './interrupt.js'
import { sample } from './sampling.js'
import { type Run, type TrainSettings, train, validate } from './trainer.js'
import { Vocabulary } from './vocabulary.js'

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
  .option('--out <dir>', 'folder for the checkpoint', 'checkpoints')
  .option('--resume <file>', 'go on from the weights of a checkpoint (the optimizer starts anew)')
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

async function makeModel(options: Options, vocabulary: Vocabulary): Promise<AutoregressiveWrapper> {
  if (options.resume) return (await load(userPath(options.resume))) as AutoregressiveWrapper
  const { dim, depth, heads } = options
  if (dim % heads) program.error('--dim must be a multiple of --heads')
  return new AutoregressiveWrapper(
    new TransformerWrapper({
      num_tokens: vocabulary.size,
      max_seq_len: options.length,
      attn_layers: new Decoder({
        dim,
        depth,
        heads,
        attn_dim_head: dim / heads,
        rotary_pos_emb: true,
      }),
    }),
  )
}

/** How to call `npm run sample` for this checkpoint, from where the user is. */
function sampleAgain(checkpoint: string): string {
  const path = relative(userPath('.'), checkpoint)
  return `npm run sample -- ${/^[\w./-]+$/.test(path) ? path : JSON.stringify(path)} --prompt "The whale"`
}

/** The curve, the loss on all of the held-out text, and a text of the model's own. */
async function showResult(
  model: AutoregressiveWrapper,
  corpus: Corpus,
  run: Run,
  settings: Options & TrainSettings,
  display: Display,
  signal: AbortSignal,
) {
  const val_loss = await validate(model, corpus, settings)
  display.curve(run)
  display.line(`\n${run.step} steps in ${run.seconds.toFixed(1)} s: loss ${run.loss.toFixed(3)},`)
  display.line(`on held-out text ${val_loss.toFixed(3)} nats per character.\n`)
  const { prompt, sample: characters, temperature } = settings
  const how = { prompt, characters, temperature, signal }
  const text = await sample(model, corpus.vocabulary, how, (part) => display.write(part))
  display.line()
  return {
    steps: run.step,
    seconds: run.seconds,
    train_loss: run.loss,
    val_loss,
    tokens_per_second: run.tokensPerSecond,
    sample: text,
  }
}

const count = (value: number) => value.toLocaleString('en-US')

async function main(): Promise<void> {
  const options = program.parse().opts<Options>()
  const settings: Options & TrainSettings = { ...options, seconds: options.minutes * 60 }
  // With --json standard output is for the result alone.
  const display = new Display(options.json ? process.stderr : process.stdout)
  const interrupt = new Interrupt(() => display.stop())
  const checkpoint = join(userPath(options.out), 'moby-dick.safetensors')
  mkdirSync(dirname(checkpoint), { recursive: true })

  manualSeed(options.seed)
  const corpus = new Corpus(
    readBook(),
    options.resume ? Vocabulary.load(userPath(options.resume)) : undefined,
  )
  const model = await makeModel(options, corpus.vocabulary)
  display.line(
    `${count(model.numParameters)} parameters learn from ${count(corpus.train.length)} characters of "Moby Dick".`,
  )
  display.start()
  const run = await train(
    model,
    corpus,
    settings,
    (progress) => display.update(progress),
    () => interrupt.requested,
  ).finally(() => display.stop())
  await model.save(checkpoint)
  corpus.vocabulary.save(checkpoint)

  const result = interrupt.requested
    ? null
    : await showResult(model, corpus, run, settings, display, interrupt.signal)
  if (interrupt.requested) {
    process.exitCode = INTERRUPTED
    display.line('\nStopped. The weights are saved.')
  }
  display.line(`Write more:  ${sampleAgain(checkpoint)}`)
  if (options.json && result && !interrupt.requested)
    console.log(JSON.stringify({ ...result, checkpoint }))
}

await command(main)
