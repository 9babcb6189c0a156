import { checkFlag, checkFunction, checkOptions, has, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkCount, checkSeedOption, isIterable } from './checks.js'
import { collateIds } from './collate.js'
import { type DatasetLike, toDataset } from './dataset.js'
import {
  type Order,
  type Origin,
  ofDataset,
  ofStream,
  orderBy,
  orderOf,
  type Plan,
} from './parts.js'
import { drawSeed } from './random.js'
import type { Stream } from './stream.js'

/** Which examples an epoch has, in which order: their indices. */
export type Sampler = Iterable<number> | ((epoch: number) => Iterable<number>)

/** Options of {@link DataLoader}. */
export interface DataLoaderOptions<Example, Batch> {
  /**
   * How many examples a batch has.
   *
   * @default 1
   */
  batch_size?: number | undefined
  /**
   * The order of a dataset: `true` takes each example once, in another order in each epoch;
   * `with_replacement` draws as many as there are, some of them twice. Neither keeps a list of all
   * indices.
   *
   * @default false
   */
  shuffle?: boolean | 'with_replacement' | undefined
  /**
   * The indices of an epoch of a dataset, in place of `shuffle`: an iterable that is walked over
   * again in each epoch, or a function from the epoch, counted from 0, to an iterable.
   */
  sampler?: Sampler | undefined
  /**
   * Of a stream: each example is drawn from so many, which are kept in memory.
   *
   * @default 0, the order of the stream
   */
  shuffle_buffer?: number | undefined
  /**
   * Decides the order of shuffled examples, the same on every platform: a whole number from 0 to
   * 2^53 - 1.
   *
   * @default a number from the sequence that `manualSeed` begins, where something is shuffled
   */
  seed?: number | undefined
  /**
   * Leaves out the last batch of an epoch where it is smaller than the others.
   *
   * @default false
   */
  drop_last?: boolean | undefined
  /**
   * Makes a batch of examples; may be asynchronous. It should draw no numbers of the sequence of
   * `manualSeed`, since batches are made ahead.
   *
   * @default rows of ids of one length become `[tensor]`, i64, (rows, length)
   */
  collate_fn?: ((examples: Example[]) => Batch | Promise<Batch>) | undefined
  /**
   * So many batches are made ahead, while the caller works with another one.
   *
   * @default 1
   */
  prefetch?: number | undefined
  /**
   * How many epochs one `for await` has. It may be `Infinity`.
   *
   * @default 1
   */
  epochs?: number | undefined
}

/** How a loader has shuffled, for its state. */
export type Shuffling = 'none' | 'shuffle' | 'with_replacement' | 'sampler' | `buffer ${number}`

/** What a loader is made of, checked. */
export interface Loading<Example, Batch> {
  origin: Origin<Example>
  plan: Plan
  collate: (examples: readonly Example[]) => Batch | Promise<Batch>
  prefetch: number
  shuffling: Shuffling
  /** The number of examples; null for a stream. */
  length: number | null
  /** The number of batches in an epoch; null for a stream and a sampler. */
  batches: number | null
}

const KEYS = [
  ...['batch_size', 'shuffle', 'sampler', 'shuffle_buffer', 'seed', 'drop_last', 'collate_fn'],
  ...['prefetch', 'epochs'],
]

const wrong = (message: string) => new XTransformersError('invalid_argument', message)

export function checkLoading<Example, Batch>(
  source: DatasetLike<Example> | Stream<Example>,
  options: DataLoaderOptions<Example, Batch>,
): Loading<Example, Batch> {
  const own = checkOptions(options, 'DataLoader', KEYS)
  const batch_size = checkCount(own.batch_size ?? 1, 'batch_size', 1)
  const drop_last = checkFlag(own.drop_last, 'drop_last', false)
  const from = typeof source === 'function' ? fromStream(source, own) : fromDataset(source, own)
  const random = from.shuffling !== 'none' && from.shuffling !== 'sampler'
  const seed = checkSeedOption(own.seed ?? (random ? drawSeed() : 0))
  const count = from.ordered
  const batches =
    count === null
      ? null
      : drop_last
        ? Math.floor(count / batch_size)
        : Math.ceil(count / batch_size)
  if (batches === 0) {
    throw wrong(
      `the dataset has ${count} examples, which make no batch${count === 0 ? '' : ` of ${batch_size}, and drop_last leaves smaller ones out`}`,
    )
  }
  return {
    ...from,
    plan: { batch_size, drop_last, seed, epochs: checkEpochs(own.epochs ?? 1) },
    collate: checkCollate(own.collate_fn),
    prefetch: checkCount(own.prefetch ?? 1, 'prefetch', 0),
    batches,
  }
}

function checkEpochs(epochs: unknown): number {
  return epochs === Number.POSITIVE_INFINITY ? epochs : checkCount(epochs, 'epochs', 1)
}

function checkCollate<Example, Batch>(
  collate: ((examples: Example[]) => Batch | Promise<Batch>) | null | undefined,
): Loading<Example, Batch>['collate'] {
  return checkFunction(collate ?? collateIds, 'collate_fn') as Loading<Example, Batch>['collate']
}

interface From<Example> {
  origin: Origin<Example>
  shuffling: Shuffling
  length: number | null
  /** The number of examples of an epoch, as far as it is known. */
  ordered: number | null
}

function fromStream<Example>(
  stream: Stream<Example>,
  { shuffle, sampler, shuffle_buffer }: DataLoaderOptions<Example, unknown>,
): From<Example> {
  if (shuffle ?? false)
    throw wrong('a stream has no places that could be exchanged: give shuffle_buffer, not shuffle')
  if ((sampler ?? null) !== null) throw wrong('a sampler needs a dataset, not a stream')
  const size = checkCount(shuffle_buffer ?? 0, 'shuffle_buffer', 0)
  const shuffling = size < 2 ? 'none' : (`buffer ${size}` as const)
  return { origin: ofStream(stream, size), shuffling, length: null, ordered: null }
}

function fromDataset<Example>(
  source: DatasetLike<Example>,
  { shuffle: given, sampler, shuffle_buffer }: DataLoaderOptions<Example, unknown>,
): From<Example> {
  if (isIterable(source) && !Array.isArray(source) && !has(source, 'get'))
    throw wrong('a stream is a function that gives an iterable in each epoch: () => stream')
  const dataset = toDataset(source)
  if ((shuffle_buffer ?? 0) !== 0) throw wrong('shuffle_buffer is for streams: give shuffle')
  const shuffle =
    given === 'with_replacement'
      ? given
      : checkFlag(given, "shuffle ('with_replacement' too)", false)
  const { length } = dataset
  let order: Order
  let shuffling: Shuffling = shuffle === true ? 'shuffle' : shuffle || 'none'
  if ((sampler ?? null) === null) order = orderOf(length, shuffle)
  else {
    if (shuffle) throw wrong('give a sampler or shuffle, not both')
    order = orderBy(checkSampler(sampler as Sampler))
    shuffling = 'sampler'
  }
  const ordered = shuffling === 'sampler' ? null : length
  return { origin: ofDataset(dataset, order), shuffling, length, ordered }
}

function checkSampler(sampler: Sampler): Sampler {
  if (typeof sampler === 'function' || has(sampler, Symbol.iterator)) return sampler
  throw refuse('sampler', 'an iterable of indices, or a function that gives one', sampler)
}
