import { throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { tensorsIn } from '../tensor/memory.js'
import { Batches, isStateful, type RepeatableData, type TrainBatch } from './batches.js'
import type { Engine } from './engine.js'

/** How data is gone over. */
export interface Evaluation {
  data: RepeatableData
  /** At most so many batches. */
  batches: number
  signal: AbortSignal | undefined
}

/**
 * The mean loss over batches, by their tokens.
 *
 * @throws XTransformersError (`invalid_argument`) where the data has no batch; the reason of the
 *   signal
 */
export async function meanLoss(
  engine: Pick<Engine, 'countedTokens' | 'evaluate'>,
  { data, batches: most, signal }: Evaluation,
): Promise<number> {
  const batches = new Batches(data, 'eval.data', { epochs: 1 })
  const place = isStateful(data) ? data.stateDict() : null
  let [total, tokens] = [0, 0]
  try {
    for (let i = 0; i < most; i++) {
      throwIfAborted(signal)
      const batch = await batches.next()
      if (batch === null) break
      const count = await engine.countedTokens(batch)
      // nothing of it counts: its loss is no number
      if (count > 0) total += count * (await engine.evaluate(batch))
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
