/** How well a model predicts a text, each of its tokens once. */
import { type AutoregressiveWrapper, noGrad, type Tensor, tensor, tidy } from 'x-transformers'
import { DataLoader, type Tokens, windows } from 'x-transformers/data'
import { Failure } from '../errors.js'

export interface Measured {
  /** The mean of the negative log-probabilities, in nats for each token. */
  loss: number
  /** The share of tokens that the model holds likeliest of all. */
  accuracy: number
  /** How many tokens were predicted. */
  tokens: number
}

export interface Measuring {
  /** The tokens of a row. */
  length: number
  batch_size: number
  signal?: AbortSignal | undefined
}

/**
 * How well a model predicts all tokens but the first, in consecutive rows, of which the last one
 * may be shorter. Dropout and masks of training are off.
 */
export async function measure(
  model: AutoregressiveWrapper,
  tokens: Tokens,
  { length, batch_size, signal }: Measuring,
): Promise<Measured> {
  if (tokens.length < 2) throw new Failure('there must be two tokens at least to measure a loss')
  const training = model.training
  model.eval()
  const sums = { loss: 0, correct: 0, tokens: 0 }
  try {
    for await (const ids of rowsOf(tokens, { length, batch_size })) {
      signal?.throwIfAborted()
      const { loss, correct } = await sumsOf(model, ids)
      sums.loss += loss
      sums.correct += correct
      const [rows = 0, columns = 0] = ids.shape
      sums.tokens += rows * (columns - 1)
      ids.dispose()
    }
  } finally {
    model.train(training)
  }
  const { tokens: count } = sums
  return { loss: sums.loss / count, accuracy: sums.correct / count, tokens: count }
}

/** All tokens in rows of `length` and one to predict, and what is left in a shorter one. */
async function* rowsOf(tokens: Tokens, { length, batch_size }: Measuring): AsyncGenerator<Tensor> {
  const targets = tokens.length - 1
  if (targets >= length)
    for await (const [ids] of new DataLoader(windows(tokens, { length }), { batch_size })) yield ids
  const rest = targets % length
  if (rest === 0) return
  const ids = await tokens.read(tokens.length - rest - 1, rest + 1)
  yield tensor(BigInt64Array.from(ids, BigInt), { shape: [1, rest + 1], dtype: 'i64' })
}

/** The sum of the negative log-probabilities of a batch, and the number of tokens predicted. */
async function sumsOf(
  model: AutoregressiveWrapper,
  ids: Tensor,
): Promise<{ loss: number; correct: number }> {
  const columns = (ids.shape[1] as number) - 1
  const input = ids.narrow(1, 0, columns)
  const logits = (await noGrad(() => model.net.forward(input))) as Tensor
  const sums = tidy(() => {
    const targets = ids.narrow(1, 1, columns)
    const log_probs = logits.logSoftmax(-1).gather(2, targets.unsqueeze(2))
    const right = logits.argmax(-1).eq(targets).to('f32').sum().item()
    // in f64
    const loss = -Array.from(log_probs.dataSync(), Number).reduce((a, b) => a + b, 0)
    return { loss, correct: Number(right) }
  })
  for (const used of [input, logits]) used.dispose()
  return sums
}
