import { refuse } from '../checks.js'
import { AutoregressiveWrapper } from '../models/autoregressive.js'
import { noGrad } from '../tensor/grad-mode.js'
import { tidy } from '../tensor/memory.js'
import { Tensor } from '../tensor/tensor.js'
import type { TrainBatch } from './batches.js'

const sizeOf = ({ shape }: Tensor) => shape.reduce((a, b) => a * b, 1)

/** The tensor of a batch whose elements are what the loss is about. */
function counted(batch: TrainBatch): Tensor | null {
  if (batch.target instanceof Tensor) return batch.target
  const first = batch.args.find((value) => value instanceof Tensor)
  return first instanceof Tensor ? first : null
}

/**
 * The number of tokens of a batch, by shapes alone: targets, or the ids of the first argument; of
 * an AutoregressiveWrapper without the first of each row, which nothing predicts.
 */
export function tokensIn(model: unknown, batch: TrainBatch): number {
  const { tokens } = batch
  if (tokens !== undefined) {
    if (Number.isFinite(tokens) && tokens >= 0) return tokens
    throw refuse('tokens of a batch', 'a number from 0', tokens)
  }
  const tensor = counted(batch)
  if (tensor === null) return 1
  const isPredicted = model instanceof AutoregressiveWrapper && batch.target === undefined
  return sizeOf(tensor) - (isPredicted ? (tensor.shape[0] ?? 0) : 0)
}

/** The tokens of a batch that count for its loss: without those whose target is `ignore_index`. */
export function countedTokens(model: unknown, batch: TrainBatch, ignore_index: number): number {
  const tensor = counted(batch)
  if (batch.tokens !== undefined || tensor?.dtype !== 'i64') return tokensIn(model, batch)
  const predicted = model instanceof AutoregressiveWrapper && batch.target === undefined
  const ignored = predicted ? (model.options.ignore_index ?? ignore_index) : ignore_index
  if (predicted && tensor.shape.length !== 2) return tokensIn(model, batch)
  return tidy(() =>
    noGrad(() => {
      const targets = predicted ? tensor.slice(1, 1, tensor.shape[1] as number) : tensor
      return Number(targets.ne(ignored).to('f32').sum().item())
    }),
  )
}
