/** How many tokens the loss of a batch is about. */
import { refuse } from '../checks.js'
import { noGrad } from '../tensor/grad-mode.js'
import { tidy } from '../tensor/memory.js'
import { Tensor } from '../tensor/tensor.js'
import type { TrainBatch } from './batches.js'

/** A tensor of a worker's page: its values are there. */
interface HostValues {
  data: ArrayLike<number | bigint>
  shape: readonly number[]
  dtype: string
}

/** What a loss is about: tensors, typed arrays, nested arrays. */
type Values = Tensor | HostValues | ArrayLike<unknown>

const isHost = (value: unknown): value is HostValues =>
  typeof value === 'object' && value !== null && 'data' in value && 'dtype' in value

const isValues = (value: unknown): value is Values =>
  value instanceof Tensor || isHost(value) || Array.isArray(value) || ArrayBuffer.isView(value)

/** The values of a batch whose elements the loss is about: the targets, or the first argument. */
const countedIn = ({ args, target }: TrainBatch): Values | null =>
  [target, ...args].find(isValues) ?? null

function shapeOf(values: Values): readonly number[] {
  if (values instanceof Tensor || isHost(values)) return values.shape
  const [first] = Array.from(values as ArrayLike<unknown>)
  return Array.isArray(first) ? [values.length, ...shapeOf(first)] : [values.length]
}

/**
 * The number of tokens of a batch, by shapes alone: targets, or the ids of the first argument.
 *
 * @param predicts whether the model predicts each token from those before it: nothing predicts the
 *   first of a row
 */
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

/**
 * The tokens of a batch that count for its loss: those whose target is not `ignored`.
 *
 * @param predicts as for {@link tokensIn}
 */
export function countedTokens(batch: TrainBatch, predicts: boolean, ignored: number): number {
  const values = countedIn(batch)
  if (batch.tokens !== undefined || values === null) return tokensIn(batch, predicts)
  const shifted = predicts && batch.target === undefined
  if (values instanceof Tensor)
    return values.dtype === 'i64'
      ? countTensor(values, shifted, ignored)
      : tokensIn(batch, predicts)
  const all = isHost(values) ? values.data : (values as number[]).flat(Infinity)
  const width = shapeOf(values).at(-1) ?? 1
  let count = 0
  for (const [i, value] of Array.from(all, Number).entries())
    if (value !== ignored && !(shifted && i % width === 0)) count++
  return count
}

function countTensor(ids: Tensor, shifted: boolean, ignored: number): number {
  const last = ids.shape.length - 1
  return tidy(() =>
    noGrad(() => {
      const targets = shifted ? ids.slice(last, 1, ids.shape[last] as number) : ids
      return Number(targets.ne(ignored).to('f32').sum().item())
    }),
  )
}
