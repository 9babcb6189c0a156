import { randint, type Tensor, tensor } from 'x-transformers'
import { Vocabulary } from './vocabulary.js'

/**
 * A text as token ids: a part to train on, and its end, held out to measure the loss on text that
 * the model has not seen.
 */
export class Corpus {
  readonly vocabulary: Vocabulary
  readonly train: BigInt64Array
  readonly heldOut: BigInt64Array

  constructor(text: string, vocabulary = Vocabulary.of(text), heldOutShare = 0.05) {
    this.vocabulary = vocabulary
    const tokens = BigInt64Array.from(vocabulary.encode(text), BigInt)
    const split = Math.floor(tokens.length * (1 - heldOutShare))
    this.train = tokens.subarray(0, split)
    this.heldOut = tokens.subarray(split)
  }

  /**
   * Windows that start at random positions of the training part: (rows, length + 1), since each
   * token is the target of the one before it.
   */
  batch(rows: number, length: number): Tensor {
    using starts = randint(0, this.train.length - length, [rows])
    return windows(this.train, Array.from(starts.dataSync() as BigInt64Array, Number), length)
  }

  /**
   * The held-out part as consecutive windows, in batches of (rows, length + 1); at most `count`
   * windows, evenly spread.
   */
  *heldOutBatches(
    rows: number,
    length: number,
    count = Number.POSITIVE_INFINITY,
  ): Generator<Tensor> {
    const all = Math.floor((this.heldOut.length - 1) / length)
    const used = Math.min(all, count)
    const starts = Array.from({ length: used }, (_, i) => Math.floor((i * all) / used) * length)
    for (let i = 0; i < starts.length; i += rows)
      yield windows(this.heldOut, starts.slice(i, i + rows), length)
  }
}

function windows(tokens: BigInt64Array, starts: number[], length: number): Tensor {
  const columns = length + 1
  const data = new BigInt64Array(starts.length * columns)
  for (const [row, start] of starts.entries())
    data.set(tokens.subarray(start, start + columns), row * columns)
  return tensor(data, { shape: [starts.length, columns], dtype: 'i64' })
}
