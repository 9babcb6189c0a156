import { isRecord, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkCount, checkSeedOption } from './checks.js'
import type { DatasetLike } from './dataset.js'
import {
  checkLoading,
  type DataLoaderOptions,
  type Loading,
  type Shuffling,
} from './loader-options.js'
import type { Place } from './parts.js'
import { Prefetcher } from './prefetch.js'
import type { Stream } from './stream.js'

/** Where a loader stands, as JSON can hold it: the batch that is handed out next. */
export interface DataLoaderState {
  /** The epoch of the next batch, counted from 0. */
  epoch: number
  /** How many examples of that epoch come before it. */
  position: number
  /** What decides the order. */
  seed: number
  /** How the examples are shuffled: a state fits only a loader that does the same. */
  shuffle: Shuffling
  /** The number of examples of the dataset; null for a stream. */
  length: number | null
}

/**
 * Batches of a dataset or of a stream, in an order that a seed decides, made ahead of their turn.
 *
 * `for await` gives the batches from where the loader stands to the end of the epoch; the next one
 * begins the next epoch. A loop that is left early has lost nothing: the next one goes on behind
 * the last batch that it was given. {@link DataLoader.stateDict} tells that place, to go on in
 * another process.
 *
 * The tensors of a batch are the caller's, who frees them with `dispose()` or `using`. Those of
 * batches that were made ahead and not handed out are freed when the loop is left, unless examples
 * have them.
 *
 * @example
 * const loader = new DataLoader(windows(tokens, { length: 128 }), { batch_size: 8, shuffle: true })
 * for await (const [ids] of loader) {
 *   await trainStep(model, optimizer, [[ids]])
 *   ids.dispose()
 * }
 */
export class DataLoader<Example, Batch = [ids: Tensor]> implements AsyncIterable<Batch> {
  readonly #loading: Loading<Example, Batch>
  #place: Place = { epoch: 0, position: 0 }
  #running: Prefetcher<Example, Batch> | null = null

  /**
   * @param source a dataset or an array of examples; or a function that gives an iterable or an
   *   async iterable of them, once for each epoch
   * @throws XTransformersError (`invalid_options`, `invalid_argument`) where the options do not
   *   fit, or where they leave no batch
   */
  constructor(
    source: DatasetLike<Example> | Stream<Example>,
    options: DataLoaderOptions<Example, Batch> = {},
  ) {
    this.#loading = checkLoading(source, options)
  }

  /** The number of batches in an epoch; null of a stream and of a sampler, whose end tells it. */
  get length(): number | null {
    return this.#loading.batches
  }

  /** The epoch of the next batch, counted from 0. */
  get epoch(): number {
    return this.#place.epoch
  }

  /**
   * The batches from where the loader stands on.
   *
   * What a dataset, a stream or `collate_fn` throws is thrown as it is, when the batch has its
   * turn: the loader then stands before that batch. Where another loop begins before this one has
   * ended, this one ends with an error (`invalid_state`).
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    const { origin, plan, collate, prefetch } = this.#loading
    this.#running?.stop()
    const running = new Prefetcher(origin({ ...plan }, this.#place), collate, prefetch)
    this.#running = running
    try {
      for (;;) {
        if (running.stopped) throw takenOver()
        const made = await running.take()
        if (running.stopped) {
          made?.batch?.free()
          throw takenOver()
        }
        if (made === null) return
        this.#place = made.next
        if (made.batch) yield made.batch.value
      }
    } finally {
      running.stop()
    }
  }

  /**
   * Where the loader stands: the batch that is handed out next, whatever was made ahead. For
   * `JSON.stringify`.
   */
  stateDict(): DataLoaderState {
    const { plan, shuffling, length } = this.#loading
    return { ...this.#place, seed: plan.seed, shuffle: shuffling, length }
  }

  /**
   * Goes on where another loader has stood, with the same batches as that one would have given. The
   * seed becomes that of the state. Of a stream the examples before that place are passed over.
   *
   * A loop that is under way ends with an error (`invalid_state`).
   *
   * @throws XTransformersError (`invalid_argument`) where it is no state, or that of a loader with
   *   another number of examples or another way to shuffle: nothing has changed then
   * @example
   * loader.loadStateDict(JSON.parse(await readFile('loader.json', 'utf8')))
   */
  loadStateDict(state: DataLoaderState): void {
    if (!isRecord(state)) throw refuse('the state', 'an object of stateDict()', state)
    const { plan, shuffling, length } = this.#loading
    const { epoch, position, seed, shuffle } = state
    const place = {
      epoch: checkCount(epoch, 'epoch of the state', 0),
      position: checkCount(position, 'position of the state', 0),
    }
    checkSeedOption(seed)
    if (state.length !== length) throw other(`${told(state.length)} examples`, told(length))
    if (shuffle !== shuffling) throw other(`shuffling ${JSON.stringify(shuffle)}`, shuffling)
    this.#running?.stop()
    plan.seed = seed
    this.#place = place
  }
}

/** A number of examples in words. */
const told = (length: number | null | undefined) => length ?? 'an unknown number of'

const takenOver = () =>
  new XTransformersError(
    'invalid_state',
    'this loop over the DataLoader cannot go on: another one has begun since, or loadStateDict() was called',
  )

const other = (theirs: string, own: string | number) =>
  new XTransformersError(
    'invalid_argument',
    `the state is that of a loader with ${theirs}, this one has ${own}: its batches would be others`,
  )
