import {
  checkFunction,
  checkIterable,
  checkOptions,
  has,
  isRecord,
  isThenable,
  refuse,
} from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkCount, checkIndex, checkSeedOption } from './checks.js'
import { drawSeed, permutation, randomOf, seedWithin } from './random.js'

/** What a `DataLoader` tells with the number of an example. */
export interface Turn {
  /** Counted from 0. */
  readonly epoch: number
  /** That of the loader, which its state has too; 0 where it neither has one nor shuffles. */
  readonly seed: number
}

/** Examples by their number, from 0 to `length - 1`, as PyTorch's map-style datasets. */
export interface Dataset<Example> {
  readonly length: number
  /**
   * May be called for several examples at once, in any order. What is random about an example
   * should be a function of `index` and `turn`, so that a run that is resumed gets the same.
   */
  get(index: number, turn?: Turn): Example | Promise<Example>
}

/** Where nobody has said more than a number. */
const FIRST_TURN: Turn = { epoch: 0, seed: 0 }

function checkTurn(turn: Turn | undefined): Turn {
  if (turn === undefined) return FIRST_TURN
  if (!isRecord(turn)) throw refuse('the turn', 'an object { epoch, seed }', turn)
  checkCount(turn.epoch, 'epoch', 0)
  checkSeedOption(turn.seed)
  return turn
}

/** What stands for a dataset: an array is one of its elements. */
export type DatasetLike<Example> = Dataset<Example> | readonly Example[]

/**
 * The examples of an array, which is not copied.
 *
 * @example
 * const dataset = new ArrayDataset([[1, 2, 3], [4, 5, 6]])
 * dataset.get(1) // [4, 5, 6]
 */
export class ArrayDataset<Example> implements Dataset<Example> {
  readonly #examples: readonly Example[]

  /** @throws XTransformersError (`invalid_argument`) where it is no array */
  constructor(examples: readonly Example[]) {
    if (!Array.isArray(examples)) throw refuse('the examples', 'an array', examples)
    this.#examples = examples
  }

  get length(): number {
    return this.#examples.length
  }

  /** @throws XTransformersError (`invalid_argument`) where there is no such example */
  get(index: number): Example {
    return this.#examples[checkIndex(index, 'index', this.length)] as Example
  }
}

/** Checks something that is to be a dataset. */
export function toDataset<Example>(value: DatasetLike<Example>): Dataset<Example> {
  if (Array.isArray(value)) return new ArrayDataset(value as readonly Example[])
  const { length } = (value ?? {}) as { length?: unknown }
  if (!has(value, 'get') || length === undefined)
    throw refuse('the dataset', 'an object with length and get(index), or an array', value)
  checkCount(length, 'the length of the dataset', 0)
  return value as Dataset<Example>
}

/** A dataset whose examples are found by a function of their number. */
class Derived<Example> implements Dataset<Example> {
  readonly #get: (index: number, turn: Turn) => Example | Promise<Example>

  constructor(
    readonly length: number,
    get: (index: number, turn: Turn) => Example | Promise<Example>,
  ) {
    this.#get = get
  }

  get(index: number, turn?: Turn): Example | Promise<Example> {
    return this.#get(checkIndex(index, 'index', this.length), checkTurn(turn))
  }
}

/**
 * Some examples of a dataset, in the order of `indices`, as PyTorch's `Subset`.
 *
 * @throws XTransformersError (`invalid_argument`) where one of them is not in the dataset
 * @example
 * const few = subset(dataset, [0, 2, 4])
 */
export function subset<Example>(
  dataset: DatasetLike<Example>,
  indices: Iterable<number>,
): Dataset<Example> {
  const whole = toDataset(dataset)
  const own = ArrayBuffer.isView(indices)
    ? Array.from(indices as unknown as ArrayLike<number>)
    : checkIterable(indices, 'indices', 'whole numbers')
  for (const [i, index] of own.entries()) checkIndex(index, `indices[${i}]`, whole.length)
  return new Derived(own.length, (index, turn) => whole.get(own[index] as number, turn))
}

/** Options of {@link randomSplit}. */
export interface RandomSplitOptions {
  /**
   * Decides which example goes where: a whole number from 0 to 2^53 - 1.
   *
   * @default a number from the sequence that `manualSeed` begins
   */
  seed?: number | undefined
}

/**
 * Splits a dataset at random into parts that have no example in common, such as one for training
 * and one for validation. Nothing is copied, and no list of indices is kept.
 *
 * @param lengths how many examples each part has, all of them together; or fractions that add up
 *   to 1: what is left after rounding down goes to the first parts, one to each
 * @throws XTransformersError (`invalid_argument`) where they do not add up
 * @example
 * const [train, held_out] = randomSplit(dataset, [0.9, 0.1], { seed: 42 })
 */
export function randomSplit<Example>(
  dataset: DatasetLike<Example>,
  lengths: readonly number[],
  options: RandomSplitOptions = {},
): Dataset<Example>[] {
  const { seed } = checkOptions(options, 'randomSplit()', ['seed'])
  const whole = toDataset(dataset)
  const parts = partLengths(lengths, whole.length)
  const order = permutation(whole.length, checkSeedOption(seed ?? drawSeed()), 0)
  let end = 0
  return parts.map((length) => {
    const start = end
    end += length
    return new Derived(length, (index, turn) => whole.get(order(start + index), turn))
  })
}

function partLengths(given: readonly number[], length: number): number[] {
  const wanted = 'numbers of examples, or fractions that add up to 1'
  const lengths = checkIterable(given, 'lengths', wanted)
  const valid = lengths.every((x) => typeof x === 'number' && Number.isFinite(x) && x >= 0)
  if (!valid || lengths.length === 0) throw refuse('lengths', `an array of ${wanted}`, given)
  const sum = lengths.reduce((a, b) => a + b, 0)
  if (lengths.every(Number.isInteger) && sum === length) return lengths
  if (Math.abs(sum - 1) > 1e-9) {
    throw new XTransformersError(
      'invalid_argument',
      `lengths must add up to the ${length} examples of the dataset, or to 1; their sum is ${sum}`,
    )
  }
  const parts = lengths.map((fraction) => Math.floor(fraction * length))
  let left = length - parts.reduce((a, b) => a + b, 0)
  for (let i = 0; left > 0; i = (i + 1) % parts.length, left--) (parts[i] as number)++
  return parts
}

/**
 * A dataset whose examples are made of those of another one, each time that they are asked for.
 *
 * For random augmentation, `random()` gives the next of the numbers from 0 to below 1 that belong
 * to the example in this epoch, in place of `Math.random()`. They follow from the loader's `seed`,
 * which is part of its state, the epoch, and the number of the example: others in each epoch, the
 * same ones on every platform, and the same ones in a run that is resumed.
 *
 * @param transform gets the example, its number, and `random`; may be asynchronous
 * @example
 * const tokens = mapped(texts, (text) => tokenizer.encode(text))
 * @example
 * const flipped = mapped(digits, (digit, _, random) => (random() < 0.5 ? flip(digit) : digit))
 */
export function mapped<From, To>(
  dataset: DatasetLike<From>,
  transform: (example: From, index: number, random: () => number) => To | Promise<To>,
): Dataset<To> {
  const whole = toDataset(dataset)
  checkFunction(transform, 'transform')
  return new Derived(whole.length, (index, { epoch, seed }) => {
    const example = whole.get(index, { epoch, seed: seedWithin(seed) })
    const random = randomOf(seed, epoch, index)
    if (!isThenable(example)) return transform(example, index, random)
    return (example as Promise<From>).then((value) => transform(value, index, random))
  })
}
