import { throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { tensorsIn } from '../tensor/memory.js'
import { Batches, isStateful, type TrainBatch, type TrainData } from './batches.js'
import { countedTokens } from './token-count.js'

/** How data is gone over. */
export interface Evaluation {
  data: Exclude<TrainData, (step: number) => unknown>
  /** At most so many batches. */
  batches: number
  /** Of the cross entropy, whose targets it leaves out. */
  ignore_index: number
  signal: AbortSignal | undefined
}

/**
 * The mean loss over batches, by their tokens.
 *
 * @param lossOf the loss of a batch
 * @throws XTransformersError (`invalid_argument`) where the data has no batch; the reason of the
 *   signal
 */
export async function meanLoss(
  model: unknown,
  { data, batches: most, ignore_index, signal }: Evaluation,
  lossOf: (batch: TrainBatch) => Promise<number>,
): Promise<number> {
  const batches = new Batches(data, 'eval.data', { epochs: 1 })
  const place = isStateful(data) ? data.stateDict() : null
  let [total, tokens] = [0, 0]
  try {
    for (let i = 0; i < most; i++) {
      throwIfAborted(signal)
      const batch = await batches.next()
      if (batch === null) break
      const count = countedTokens(model, batch, ignore_index)
      // nothing of it counts: its loss is no number
      if (count > 0) total += count * (await lossOf(batch))
      tokens += count
      if (batches.owned) freeBatch(batch)
    }
  } finally {
    await batches.close()
    // each evaluation has the same batches
    if (place !== null && isStateful(data)) data.loadStateDict(place as never)
  }
  if (tokens > 0) return total / tokens
  throw new XTransformersError('invalid_argument', 'eval.data has no batch with tokens that count')
}

/** Frees the tensors of a batch. */
export function freeBatch({ args, target }: TrainBatch): void {
  for (const handle of tensorsIn([args, target])) handle.dispose()
}
