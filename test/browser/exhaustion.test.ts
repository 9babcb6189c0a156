// Running out of memory during a computation is an error of that computation only.
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  cat,
  Encoder,
  memory,
  ones,
  randint,
  stack,
  type Tensor,
  TransformerWrapper,
  tidy,
  zeros,
} from 'x-transformers'
import { Bystander, expectRefused } from './refused.js'

const GIB = 2 ** 30
const MEGABYTE = 2 ** 20

let bystander: Bystander
beforeAll(async () => {
  bystander = await Bystander.make()
})
afterEach(() => bystander.expectWell())

const encoder = (length: number, layers = {}, net = {}) =>
  new TransformerWrapper({
    num_tokens: 16,
    max_seq_len: length,
    attn_layers: new Encoder({ dim: 16, depth: 1, heads: 1, attn_dim_head: 16, ...layers }),
    ...net,
  })

const tokens = (length: number) => randint(0, 16, [1, length])

describe('a computation that exceeds all memory', () => {
  it.each<[string, () => unknown, number]>([
    [
      'a wide head',
      () => encoder(4096, {}, { logits_dim: 2 ** 18 + 2 ** 16 }).forward(tokens(4096)),
      4,
    ],
    [
      'a wide feed-forward layer',
      () => encoder(4096, { ff_mult: 2 ** 14 + 2 ** 12 }).forward(tokens(4096)),
      4,
    ],
    ['where', () => zeros([2 ** 24, 1], { dtype: 'bool' }).where(ones([1, 80]), 2), 4],
  ])('%s', async (_, run, gigabytes) => {
    // the weights may stay in memory for a while
    await expectRefused(run, gigabytes, 64, 128 * MEGABYTE)
  })

  it.each<[string, (parts: Tensor[]) => Tensor]>([
    ['cat', (parts) => cat(parts)],
    ['stack', (parts) => stack(parts)],
  ])('%s', async (_, join) => {
    using part = zeros([2 ** 22])
    await expectRefused(() => join(Array(320).fill(part)), 5, 10)
  })
})

// Takes 3.6 GiB.
describe.runIf(((navigator as { deviceMemory?: number }).deviceMemory ?? 0) >= 8)(
  'when memory is nearly full',
  () => {
    const N = 2 ** 27
    let x: Tensor
    const filler: Tensor[] = []
    beforeAll(() => {
      x = ones([N])
      while (memory().native_bytes < 3.6 * GIB) filler.push(zeros([2 ** 25]))
    })

    it.each<[string, () => unknown]>([
      ['exp', () => x.exp()],
      ['gelu', () => x.gelu()],
      ['softmax', () => x.softmax()],
      ['logSoftmax', () => x.logSoftmax()],
      ['cast', () => x.cast('f64')],
      ['cat', () => cat([x, x])],
      ['add', () => x.add(1)],
      [
        'permute',
        () =>
          x
            .reshape([N / 2, 2])
            .permute([1, 0])
            .reshape([N]),
      ],
      ['data', () => x.data()],
      ['a graph', () => tidy(() => x.mul(1).sum())],
    ])('%s is rejected', async (_, run) => {
      await expectRefused(run, 0.4, 4, 64 * MEGABYTE)
    })

    it('freed memory can be allocated again', async () => {
      for (const tensor of filler.splice(0, 2)) tensor.dispose()
      // as large as the freed memory: whether two blocks are adjacent depends on when garbage was
      // collected before
      using y = x.slice(0, 0, 2 ** 25).exp()
      expect(y.slice(0, 0, 2).toArray()).toEqual([Math.fround(Math.E), Math.fround(Math.E)])
    })
  },
)
