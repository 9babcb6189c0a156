/** Batches of a run, one after the other through all epochs, and where they are. */
import { has, isRecord, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'

/** Arguments of `forward`, with what belongs to them. */
export interface TrainBatch {
  args: readonly unknown[]
  /** What an `objective` compares with. */
  target?: unknown
  /** The number of tokens that count for the loss; absent: counted. */
  tokens?: number | undefined
}

/** The arguments of `forward`, alone or with what belongs to them. */
export type BatchLike = readonly unknown[] | TrainBatch

/** Data that goes on where it was, such as a `DataLoader`. */
export interface StatefulData extends AsyncIterable<BatchLike> {
  /** The epoch of the next batch, counted from 0, where it counts them. */
  readonly epoch?: number
  /**
   * The number of batches in an epoch, by which a run tells its `share`; null or absent: not known.
   */
  readonly length?: number | null
  /** Where it is, for JSON. */
  stateDict(): object
  loadStateDict(state: never): void
}

/**
 * Where batches come from.
 *
 * - a `DataLoader`, or something like it: each iteration is what is left of an epoch. Its batches
 *   are freed after their step.
 * - an array, or anything else that can be iterated more than once: each iteration is an epoch. A
 *   run that is resumed passes over the batches that it has had.
 * - a function of the number of the step: the batch for it, or null at the end of the data. It must
 *   depend on the number and on the generator of `manualSeed` alone, if runs are to be resumed.
 */
export type TrainData =
  | StatefulData
  | Iterable<BatchLike>
  | AsyncIterable<BatchLike>
  | ((step: number) => BatchLike | null | Promise<BatchLike | null>)

/** Data that can be gone over again and again. */
export type RepeatableData = Exclude<TrainData, (step: number) => unknown>

/** Where {@link Batches} are, for JSON. */
export interface BatchesState {
  epoch: number
  /** The number of batches of the epoch so far; of all for a function. */
  position: number
  /** That of a loader. */
  loader: object | null
}

/** Share of an epoch whose last batch was taken: below 1 until the data ends. */
const ALMOST = 1 - 2 ** -20

type Iterator = { next(): unknown; return?: () => unknown }

export class Batches {
  readonly #data: TrainData
  #iterator: Iterator | null = null
  #epoch = 0
  #position = 0
  /** The epoch that data which counts them had at first; null: it counts none. */
  readonly #base: number | null
  /** Batches to pass over, after a resume. */
  #skip = 0

  /** The number of epochs. */
  readonly #epochs: number

  /**
   * @param what the name of the data, for errors
   * @throws XTransformersError (`invalid_options`) where it is no data
   */
  constructor(data: TrainData, what: string, { epochs = Infinity } = {}) {
    if (typeof data !== 'function' && !has(data, Symbol.asyncIterator) && !isIterable(data)) {
      const wanted = 'a DataLoader, an iterable of batches, or a function (step) => batch'
      throw refuse(what, wanted, data, 'invalid_options')
    }
    this.#data = data
    this.#epochs = epochs
    this.#base = isStateful(data) ? (data.epoch ?? null) : null
  }

  /** The epoch of the next batch, counted from 0. */
  get epoch(): number {
    return this.#epoch
  }

  /**
   * The epochs so far, with the part of this one where the number of its batches is known. An epoch
   * is over when the data says so, not when these are counted.
   */
  get place(): number {
    const length = lengthOf(this.#data)
    const part = length > 0 ? this.#position / length : 0
    return this.#epoch + Math.min(part, ALMOST)
  }

  /** Whether nobody else has the tensors of the batches. */
  get owned(): boolean {
    return isStateful(this.#data)
  }

  state(): BatchesState {
    const data = this.#data
    return {
      epoch: this.#epoch,
      position: this.#position,
      loader: isStateful(data) ? data.stateDict() : null,
    }
  }

  restore({ epoch, position, loader }: BatchesState): void {
    if ((loader !== null) !== isStateful(this.#data)) {
      throw new XTransformersError(
        'invalid_checkpoint',
        'the run of this checkpoint had data of another kind: give it the same data to resume it',
      )
    }
    this.#epoch = epoch
    this.#position = position
    if (loader !== null) (this.#data as StatefulData).loadStateDict(loader as never)
    else this.#skip = position
  }

  /** The next batch; null at the end of the data, or of the last epoch. */
  async next(): Promise<TrainBatch | null> {
    const data = this.#data
    if (typeof data === 'function') {
      const batch = await data(this.#position)
      if (batch === null || batch === undefined) return null
      this.#position++
      return checkBatch(batch)
    }
    for (let fresh = this.#iterator === null; ; fresh = true) {
      if (this.#base !== null) {
        const epoch = ((data as StatefulData).epoch as number) - this.#base
        // the checkpoint of a resumed run may be of the end of an epoch
        if (epoch > this.#epoch) this.#position = 0
        this.#epoch = epoch
        if (this.#epoch >= this.#epochs) return null
      }
      this.#iterator ??= iterate(data)
      const { done, value } = (await this.#iterator.next()) as IteratorResult<BatchLike>
      if (!done) {
        if (this.#skip > 0) {
          this.#skip--
          continue
        }
        this.#position++
        return checkBatch(value)
      }
      // an epoch that was at its end already when the run was resumed is no empty one
      const empty = fresh && this.#position === 0
      this.#iterator = null
      if (empty || isUsedUp(data)) return null
      if (this.#base === null) this.#epoch++
      this.#position = 0
      this.#skip = 0
      if (this.#epoch >= this.#epochs) return null
    }
  }

  /** Ends the iteration. */
  async close(): Promise<void> {
    const iterator = this.#iterator
    this.#iterator = null
    await iterator?.return?.()
  }
}

const isIterable = (data: unknown): data is Iterable<BatchLike> =>
  typeof data === 'object' && has(data, Symbol.iterator)

export const isStateful = (data: unknown): data is StatefulData =>
  has(data, 'stateDict') && has(data, 'loadStateDict')

/** The number of batches in an epoch; 0 where nobody knows it. */
function lengthOf(data: TrainData): number {
  // of other data, such as a function, it would be something else
  const length = Array.isArray(data) || isStateful(data) ? data.length : null
  return Number.isSafeInteger(length) ? (length as number) : 0
}

function iterate(data: Iterable<BatchLike> | AsyncIterable<BatchLike>): Iterator {
  if (has(data, Symbol.asyncIterator))
    return (data as AsyncIterable<BatchLike>)[Symbol.asyncIterator]()
  return (data as Iterable<BatchLike>)[Symbol.iterator]()
}

/** Whether it is an iterator, which walks once: what a generator gives. */
export const isUsedUp = (data: TrainData) => has(data, 'next')

function checkBatch(batch: unknown): TrainBatch {
  if (Array.isArray(batch)) return { args: batch }
  if (isRecord(batch) && Array.isArray(batch.args)) return batch as unknown as TrainBatch
  const wanted = 'the arguments of forward, [tokens], or { args, target, tokens }'
  throw refuse('a batch', wanted, batch)
}
