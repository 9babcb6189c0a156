/** The loss of a model on a text, each of its tokens once. */
import { type AutoregressiveWrapper, tensor } from 'x-transformers'
import { DataLoader, type Tokens, windows } from 'x-transformers/data'
import { Failure } from '../errors.js'

export interface Measured {
  /** The mean of the negative log-probabilities, in nats for each token. */
  loss: number
  /** How many tokens were predicted. */
  tokens: number
}

export interface Measuring {
  /** The tokens of a row. */
  length: number
  batch_size: number
  signal?: AbortSignal | undefined
  /** Hears how much is done, from 0 to 1. */
  onProgress?: (share: number) => void
}

/**
 * The loss of a model on all tokens but the first, in consecutive rows, of which the last one may
 * be shorter. Dropout and masks of training are off.
 */
export async function measureLoss(
  model: AutoregressiveWrapper,
  tokens: Tokens,
  { length, batch_size, signal, onProgress }: Measuring,
): Promise<Measured> {
  if (tokens.length < 2) throw new Failure('there must be two tokens at least to measure a loss')
  const targets = tokens.length - 1
  const measured = { sum: 0, tokens: 0 }
  const add = async (ids: Parameters<AutoregressiveWrapper['score']>[0]) => {
    signal?.throwIfAborted()
    const { log_probs, perplexity } = await model.score(ids)
    for (const value of log_probs.dataSync() as Float32Array) measured.sum -= value
    measured.tokens += log_probs.shape.reduce((a, b) => a * b, 1)
    for (const result of [log_probs, perplexity]) result.dispose()
    onProgress?.(measured.tokens / targets)
  }
  if (targets >= length) {
    for await (const [batch] of new DataLoader(windows(tokens, { length }), { batch_size })) {
      await add(batch)
      batch.dispose()
    }
  }
  const rest = targets % length
  if (rest > 0) {
    const ids = await tokens.read(tokens.length - rest - 1, rest + 1)
    using row = tensor(BigInt64Array.from(ids, BigInt), { shape: [1, rest + 1], dtype: 'i64' })
    await add(row)
  }
  return { loss: measured.sum / measured.tokens, tokens: measured.tokens }
}
