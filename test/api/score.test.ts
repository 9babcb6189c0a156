import { describe, expect, it } from 'vitest'
import {
  ContinuousTransformerWrapper,
  Decoder,
  randn,
  type Tensor,
  tensor,
  XTransformer,
  XTransformersError,
} from 'x-transformers'
import {
  bytesInUse,
  collect,
  expectClose,
  ids,
  largerModel,
  numbers,
  smallModel,
  smallNet,
} from './helpers.js'

describe('score', () => {
  it('gives the log-probability of each token, whose mean is the loss', async () => {
    const model = smallModel().eval()
    const x = ids(3, 6)
    const { log_probs, perplexity } = await model.score(x)
    expect(log_probs.shape).toEqual([3, 5])
    expect(perplexity.shape).toEqual([3])
    const values = numbers(log_probs)
    const loss = model.forwardSync(x).item() as number
    expectClose([-values.reduce((a, b) => a + b, 0) / 15], [loss])
    const means = [0, 1, 2].map(
      (row) => -values.slice(5 * row, 5 * row + 5).reduce((a, b) => a + b, 0) / 5,
    )
    expectClose(numbers(perplexity), means.map(Math.exp))
    const probabilities = (await model.net.forward(x)).logSoftmax(-1).toArray() as number[][][]
    const tokens = x.toArray() as number[][]
    const want = tokens.flatMap((row, i) =>
      row.slice(1).map((token, at) => probabilities[i]?.[at]?.[token] as number),
    )
    expectClose(values, want)
  })

  it('is the same synchronously, and with dropout in training mode', async () => {
    const model = smallModel({ attn_dropout: 0.5, ff_dropout: 0.5 })
    const { log_probs, perplexity } = await model.score(ids(2, 6))
    expect(log_probs.requires_grad).toBe(false)
    const again = model.scoreSync(ids(2, 6))
    expect(numbers(again.log_probs)).toEqual(numbers(log_probs))
    expect(numbers(again.perplexity)).toEqual(numbers(perplexity))
  })

  it('accepts any ignored tokens, and masks without a batch axis', async () => {
    const model = smallModel()
    const want = numbers((await model.score(tensor([3, 1, 4], { dtype: 'i64' }))).log_probs)
    const ignored = await model.score(tensor([[3, 1, 4, -100, -100]], { dtype: 'i64' }))
    expectClose(numbers(ignored.log_probs), [...want, 0, 0])
    const mask = tensor([false, true, true, true, false])
    const masked = await model.score(tensor([-1, 3, 1, 4, -1], { dtype: 'i64' }), { mask })
    expect(masked.log_probs.shape).toEqual([4])
    expectClose(numbers(masked.log_probs), [0, ...want, 0])
  })

  it.each([{}, { rotary_pos_emb: true }])(
    'ignores padding on either side, with %o',
    async (layers) => {
      const model = smallModel(layers)
      const alone = await model.score(tensor([3, 1, 4], { dtype: 'i64' }))
      expect(alone.log_probs.shape).toEqual([2])
      expect(alone.perplexity.shape).toEqual([])
      const both = tensor(
        [
          [0, 0, 3, 1, 4],
          [3, 1, 4, 0, 0],
        ],
        { dtype: 'i64' },
      )
      const mask = tensor([
        [false, false, true, true, true],
        [true, true, true, false, false],
      ])
      const { log_probs, perplexity } = await model.score(both, { mask })
      const [a, b] = numbers(alone.log_probs) as [number, number]
      expectClose(numbers(log_probs), [0, 0, a, b, a, b, 0, 0])
      const one = alone.perplexity.item() as number
      expectClose(numbers(perplexity), [one, one])
    },
  )

  it('is available for an encoder with a decoder', async () => {
    const model = new XTransformer({
      ...{
        dim: 16,
        enc_num_tokens: 11,
        enc_max_seq_len: 8,
        enc_depth: 1,
        enc_heads: 2,
        pad_value: 0,
      },
      ...{ dec_num_tokens: 11, dec_max_seq_len: 8, dec_depth: 1, dec_heads: 2 },
    })
    const [src, tgt] = [ids(2, 5), ids(2, 6)]
    const mask = tensor([
      [true, true, true, false, false],
      [true, true, true, true, true],
    ])
    const { log_probs } = await model.score(src, tgt, { mask })
    expect(log_probs.shape).toEqual([2, 5])
    const loss = model.forwardSync(src, tgt, { mask }).item() as number
    expectClose([-numbers(log_probs).reduce((a, b) => a + b, 0) / 10], [loss])
    expect(numbers(model.scoreSync(src, tgt, { mask }).log_probs)).toEqual(numbers(log_probs))
    const end = tensor([[3, 4, 0, 0]], { dtype: 'i64' })
    const counted = await model.score(src.slice(0, 0, 1), end, { ignore_pad: true })
    expect(numbers(counted.log_probs).map((x) => x < 0)).toEqual([true, false, false])
  })

  it('frees its temporary tensors', async () => {
    const model = smallModel()
    const score = async () => {
      const { log_probs, perplexity } = await model.score(ids(4, 9))
      log_probs.dispose()
      perplexity.dispose()
    }
    await score()
    await collect()
    const bytes = bytesInUse()
    for (let i = 0; i < 5; i++) await score()
    await collect()
    expect(bytesInUse()).toBeLessThan(bytes + 4096)
  })

  it('can be aborted, and reports invalid arguments', async () => {
    const controller = new AbortController()
    const pending = largerModel().score(ids(4, 200, 256), { signal: controller.signal })
    controller.abort('enough')
    await expect(pending).rejects.toBe('enough')
    const model = smallModel()
    await expect(model.score(ids(1, 1))).rejects.toThrow(/length at least 2/)
    await expect(model.score(ids(1, 3), { maks: ids(1, 3) } as never)).rejects.toThrow(
      /did you mean `mask`/,
    )
    await expect(model.score(['1', '2'] as never)).rejects.toBeInstanceOf(XTransformersError)
    await expect(model.score(ids(2, 3), { mask: tensor([[true, true]]) })).rejects.toThrow(
      /one for each token/,
    )
  })
})

describe('attention maps', () => {
  /** Rows of maps are probabilities over earlier positions. */
  function expectMaps(maps: Tensor[], shape: number[]): void {
    for (const map of maps) {
      expect(map.shape).toEqual(shape)
      const [, , queries, keys] = shape as [number, number, number, number]
      const values = numbers(map)
      for (let row = 0; row < values.length / keys; row++) {
        const weights = values.slice(row * keys, (row + 1) * keys)
        expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4)
        expect(weights.slice((row % queries) + 1).every((weight) => weight === 0)).toBe(true)
      }
    }
  }

  it('are returned as tensors from the model inside a wrapper', async () => {
    const { net } = smallModel({ depth: 2 })
    const [logits, maps] = await net.forward(ids(2, 5), { return_attn: true })
    expect(logits.shape).toEqual([2, 5, 11])
    expect(maps.length).toBe(2)
    expectMaps(maps, [2, 2, 5, 5])
    const [, { hiddens, attn_intermediates }] = await net.forward(ids(2, 5), {
      return_intermediates: true,
    })
    expect(hiddens.map(({ shape }) => shape)).toEqual([
      [2, 5, 16],
      [2, 5, 16],
    ])
    expectMaps(
      attn_intermediates.map(({ post_softmax_attn }) => post_softmax_attn),
      [2, 2, 5, 5],
    )
    expect(attn_intermediates.map(({ pre_softmax_attn }) => pre_softmax_attn.shape)).toEqual([
      [2, 2, 5, 5],
      [2, 2, 5, 5],
    ])
    expect(numbers(attn_intermediates[1]?.post_softmax_attn as Tensor)).toEqual(
      numbers(maps[1] as Tensor),
    )
  })

  it('are returned by wrappers over vectors and by layers alone', async () => {
    const attn_layers = new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 })
    const model = new ContinuousTransformerWrapper({ dim_in: 3, max_seq_len: 8, attn_layers })
    const [, maps] = await model.forward(randn([1, 4, 3]), { return_attn: true })
    expectMaps(maps, [1, 2, 4, 4])
    const [, { attn_intermediates }] = await attn_layers.forward(randn([1, 4, 16]), {
      return_hiddens: true,
    })
    expectMaps([attn_intermediates[0]?.post_softmax_attn as Tensor], [1, 2, 4, 4])
  })

  it('have a gradient', async () => {
    const net = smallNet()
    const [, maps] = await net.forward(ids(1, 4), { return_attn: true })
    const [map] = maps as [Tensor]
    await map.mul(map).sum().backward()
    expect(
      [...net.namedParameters()].some(([name, p]) => name.includes('to_q') && p.grad !== null),
    ).toBe(true)
  })
})
