/**
 * How many tokens the loss of a batch is about, on both sides of a worker: nothing here may need
 * the native side.
 */
import { has, isRecord, refuse } from '../checks.js'
import type { Tensor } from '../tensor/tensor.js'
import type { TrainBatch } from './batches.js'

/** A tensor of a worker's page: its values are there. */
interface HostValues {
  data: ArrayLike<number | bigint>
  shape: readonly number[]
  dtype: string
}

/** What a loss is about: tensors, typed arrays, nested arrays. */
type Values = Tensor | HostValues | ArrayLike<unknown>

/** By its looks: the library need not be on the page. */
const isTensor = (value: unknown): value is Tensor =>
  has(value, 'dataSync') && has(value, 'backward')

const isHost = (value: unknown): value is HostValues =>
  typeof value === 'object' && value !== null && 'data' in value && 'dtype' in value

const isValues = (value: unknown): value is Values =>
  isTensor(value) || isHost(value) || Array.isArray(value) || ArrayBuffer.isView(value)

/** The values of a batch whose elements the loss is about: the targets, or the first argument. */
const countedIn = ({ args, target }: TrainBatch): Values | null =>
  [target, ...args].find(isValues) ?? null

function shapeOf(values: Values): readonly number[] {
  if (isTensor(values) || isHost(values)) return values.shape
  const first: unknown = values[0]
  return Array.isArray(first) ? [values.length, ...shapeOf(first)] : [values.length]
}

/** How the model and its loss see a batch. */
export interface Counting {
  /**
   * Whether the model predicts each token from those before it: nothing predicts the first of a
   * row.
   */
  predicts: boolean
  /** The target that does not count. */
  ignored: number
  /** Counts ids that are not `ignored`; if `shifted`, without the first of each row. */
  countTensor(ids: Tensor, shifted: boolean, ignored: number): number
}

/** The number of tokens of a batch, by shapes alone: targets, or the ids of the first argument. */
export function tokensIn(batch: TrainBatch, predicts: boolean): number {
  const { tokens, target } = batch
  if (tokens !== undefined) {
    if (Number.isFinite(tokens) && tokens >= 0) return tokens
    throw refuse('tokens of a batch', 'a number from 0', tokens)
  }
  const values = countedIn(batch)
  if (values === null) return 1
  const shape = shapeOf(values)
  const size = shape.reduce((a, b) => a * b, 1)
  return predicts && target === undefined ? size - size / Math.max(1, shape.at(-1) ?? 1) : size
}

/** The tokens of a batch that count for its loss. */
export function countedTokens(batch: TrainBatch, counting: Counting): number {
  const { predicts, ignored } = counting
  const values = countedIn(batch)
  if (batch.tokens !== undefined || values === null) return tokensIn(batch, predicts)
  const shifted = predicts && batch.target === undefined
  const columns = shapeOf(values).at(-1) ?? 1
  const lens = shifted ? optionIn(batch, 'lens') : null
  const segments = shifted ? optionIn(batch, 'segment_ids') : null
  if (segments !== null || lens !== null) {
    const all = (list: Values | null) => (list === null ? null : elementsOf(list))
    return countPredicted(elementsOf(values), columns, ignored, all(segments), all(lens))
  }
  if (isTensor(values)) {
    if (values.dtype !== 'i64') return tokensIn(batch, predicts)
    return counting.countTensor(values, shifted, ignored)
  }
  return countValues(elementsOf(values), columns, shifted, ignored)
}

/** One of the options of `forward`. */
function optionIn({ args }: TrainBatch, name: 'segment_ids' | 'lens'): Values | null {
  const options = args.at(-1)
  const value = isRecord(options) && !isValues(options) ? options[name] : null
  return isValues(value) ? value : null
}

/** All elements, row by row. */
function elementsOf(values: Values): ArrayLike<number | bigint> {
  if (isTensor(values)) return values.dataSync() as ArrayLike<number | bigint>
  if (isHost(values)) return values.data
  if (ArrayBuffer.isView(values)) return values as unknown as ArrayLike<number | bigint>
  return (values as number[]).flat(Infinity) as number[]
}

/**
 * Counts the ids that another one of their own document predicts, where there are documents, of
 * which 0 is padding; and of each row the first ones alone, where there are lengths.
 */
function countPredicted(
  ids: ArrayLike<number | bigint>,
  columns: number,
  ignored: number,
  segments: ArrayLike<number | bigint> | null,
  lens: ArrayLike<number | bigint> | null,
): number {
  let count = 0
  for (let i = 0; i < ids.length; i++) {
    const column = i % columns
    const own = segments ? Number(segments[i]) : 1
    const before = segments ? Number(segments[i - 1]) : 1
    const length = lens ? Number(lens[(i - column) / columns]) : columns
    const is_predicted = column !== 0 && column < length && own !== 0 && own === before
    if (is_predicted && Number(ids[i]) !== ignored) count++
  }
  return count
}

/** Counts ids in rows of so many columns. */
export function countValues(
  ids: ArrayLike<number | bigint>,
  columns: number,
  shifted: boolean,
  ignored: number,
): number {
  let count = 0
  for (let i = 0; i < ids.length; i++)
    if (Number(ids[i]) !== ignored && !(shifted && i % columns === 0)) count++
  return count
}
