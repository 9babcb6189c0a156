/** What a run learns from, and what it is measured on. */
import {
  DataLoader,
  type Dataset,
  randomWindows,
  subset,
  type Tokens,
  windows,
} from 'x-transformers/data'
import type { Tokenizer } from 'x-transformers/tokenizers'
import type { Config, DataConfig, TrainConfig } from '../config/schema.js'
import { UsageError } from '../errors.js'
import { readTokens, slice } from '../text/tokens.js'

export interface Corpus {
  train: Tokens
  /** Null where nothing is held out. */
  validation: Tokens | null
}

/** The tokens of a configuration's files, and those that are held out. */
export async function readCorpus(
  data: DataConfig,
  tokenizer: Tokenizer | null,
  signal?: AbortSignal,
): Promise<Corpus> {
  const all = await readTokens(data.files, tokenizer, data, signal)
  const { validation } = data
  if (validation === null) return { train: all, validation: null }
  if (typeof validation === 'object')
    return { train: all, validation: await readTokens(validation, tokenizer, data, signal) }
  const split = Math.floor(all.length * (1 - validation))
  return { train: slice(all, 0, split), validation: slice(all, split, all.length) }
}

/** An error where a text is shorter than one row. */
function checkLength(tokens: Tokens, length: number, what: string): void {
  if (tokens.length > length) return
  throw new UsageError(
    `${what} has ${tokens.length} tokens, and a row has ${length} and one to predict: give more text, or a smaller train.length`,
  )
}

export function makeLoader(tokens: Tokens, length: number, { seed, train }: Config) {
  checkLength(tokens, length, 'the data')
  const settings = { batch_size: train.batch_size, seed }
  if (train.windows === 'random')
    return new DataLoader(randomWindows(tokens, { length }), {
      ...settings,
      shuffle: 'with_replacement',
    })
  return new DataLoader(windows(tokens, { length }), {
    ...settings,
    shuffle: true,
    drop_last: true,
  })
}

/** What evaluations in a run measure on: all windows, or some that are evenly spread. */
export function makeEvaluation(tokens: Tokens, length: number, { train }: Config) {
  checkLength(tokens, length, 'the held-out text')
  const all = windows(tokens, { length })
  const most = train.eval.windows ?? all.length
  const few: Dataset<never> | typeof all =
    most < all.length ? subset(all, spread(all.length, most)) : all
  return new DataLoader(few, { batch_size: train.batch_size })
}

/** `count` indices of `length`, as far from each other as can be. */
const spread = (length: number, count: number) =>
  Array.from({ length: count }, (_, i) => Math.floor((i * length) / count))

/**
 * How many steps a run has at most: epochs of windows that begin anywhere are counted by their
 * tokens. Undefined: the run ends otherwise.
 */
export function stepsOf(tokens: Tokens, length: number, train: TrainConfig): number | undefined {
  const { epochs, windows: kind, batch_size, grad_accum, steps } = train
  if (epochs === undefined) return steps
  const batches =
    kind === 'random'
      ? tokens.length / length / batch_size
      : Math.floor(Math.floor((tokens.length - 1) / length) / batch_size)
  const all = (epochs * batches) / grad_accum
  // the last step of consecutive windows takes what is left
  const own = Math.max(1, kind === 'random' ? Math.round(all) : Math.ceil(all))
  return Math.min(own, steps ?? Number.POSITIVE_INFINITY)
}
