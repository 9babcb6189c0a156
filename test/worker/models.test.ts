import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import { HostTensor, type RemoteModel, tensor } from 'x-transformers/worker'
import { numbers as mainNumbers, ids as mainTokens } from '../api/helpers.js'
import { ids, LAYERS, library, NET, numbers, smallModel, smallNet } from './helpers.js'

/** Fixed values that a norm does not make 0. */
const values = (shape: number[]) =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i + 1))
const waves = (...shape: number[]) => tensor(values(shape), { shape })
const mainWaves = (...shape: number[]) => main.tensor(values(shape), { shape })

/** `forward` of any class with any arguments. */
type AnyModel = { forward(...args: unknown[]): Promise<unknown> }
/** The library on either side, with its tensor function. */
interface Side {
  x: Pick<typeof main, keyof typeof main & keyof Awaited<ReturnType<typeof library>>>
  ids: typeof mainTokens
  waves: typeof mainWaves
}
type Make = (side: Side) => [model: unknown, ...args: unknown[]]

const dropping = { ...LAYERS, attn_dropout: 0.3 }

/** Every class: a small model, and arguments of forward. */
const CLASSES: Record<string, Make> = {
  Encoder: ({ x, waves }) => [new x.Encoder(dropping), waves(1, 4, 16)],
  Decoder: ({ x, waves }) => [new x.Decoder(dropping), waves(1, 4, 16), { return_hiddens: true }],
  CrossAttender: ({ x, waves }) => [
    new x.CrossAttender(dropping),
    waves(1, 4, 16),
    { context: waves(1, 3, 16) },
  ],
  Attention: ({ x, waves }) => [
    new x.Attention({ dim: 16, heads: 2, dim_head: 8, dropout: 0.3 }),
    waves(1, 4, 16),
  ],
  TransformerWrapper: ({ x, ids, waves }) => [
    new x.TransformerWrapper({ ...NET, max_mem_len: 4, attn_layers: new x.Decoder(dropping) }),
    ids(2, 8),
    { return_mems: true, mems: [waves(2, 3, 16)] },
  ],
  ContinuousTransformerWrapper: ({ x, waves }) => [
    new x.ContinuousTransformerWrapper({
      dim_in: 3,
      dim_out: 3,
      max_seq_len: 8,
      attn_layers: new x.Decoder(dropping),
    }),
    waves(1, 8, 3),
    { return_attn: true },
  ],
  ViTransformerWrapper: ({ x, waves }) => [
    new x.ViTransformerWrapper({
      image_size: 8,
      patch_size: 4,
      num_classes: 5,
      attn_layers: new x.Encoder(dropping),
    }),
    waves(1, 3, 8, 8),
  ],
  XTransformer: ({ x, ids }) => [
    new x.XTransformer({
      dim: 16,
      enc_num_tokens: 11,
      enc_max_seq_len: 8,
      enc_depth: 1,
      enc_heads: 2,
      dec_num_tokens: 11,
      dec_max_seq_len: 8,
      dec_depth: 1,
      dec_heads: 2,
    }),
    ids(2, 5),
    ids(2, 6),
  ],
  AutoregressiveWrapper: ({ x, ids }) => [
    new x.AutoregressiveWrapper(
      new x.TransformerWrapper({ ...NET, attn_layers: new x.Decoder(dropping) }),
      {
        mask_prob: 0.2,
      },
    ),
    ids(2, 8),
  ],
  ContinuousAutoregressiveWrapper: ({ x, waves }) => [
    new x.ContinuousAutoregressiveWrapper(
      new x.ContinuousTransformerWrapper({
        dim_in: 3,
        dim_out: 3,
        max_seq_len: 8,
        attn_layers: new x.Decoder(dropping),
      }),
    ),
    waves(1, 8, 3),
  ],
  NonAutoregressiveWrapper: ({ x, ids }) => [
    new x.NonAutoregressiveWrapper(
      new x.TransformerWrapper({
        num_tokens: 11,
        max_seq_len: 8,
        attn_layers: new x.Encoder(dropping),
      }),
      { mask_id: 10, steps: 3, self_token_critic: true },
    ),
    ids(2, 8),
  ],
  Linear: ({ x, waves }) => [new x.Linear({ in_features: 16, out_features: 3 }), waves(2, 16)],
  Embedding: ({ x, ids }) => [
    new x.Embedding({ num_embeddings: 11, embedding_dim: 4, padding_idx: 0 }),
    ids(2, 8),
  ],
  LayerNorm: ({ x, waves }) => [new x.LayerNorm({ normalized_shape: [4, 16] }), waves(1, 4, 16)],
  RMSNorm: ({ x, waves }) => [new x.RMSNorm({ normalized_shape: 16 }), waves(1, 4, 16)],
  Dropout: ({ x, waves }) => [new x.Dropout({ p: 0.3 }), waves(1, 4, 16)],
  FeedForward: ({ x, waves }) => [new x.FeedForward({ dim: 16, dropout: 0.3 }), waves(1, 4, 16)],
}

/** A result with plain arrays instead of tensors. */
function plain(value: unknown): unknown {
  if (value instanceof main.Tensor || value instanceof HostTensor) {
    return { shape: [...value.shape], dtype: value.dtype, values: value.toArray() }
  }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
}

describe('a model in a worker', () => {
  it.each(Object.entries(CLASSES))(
    'gives the same result as the main library: %s',
    async (_, make) => {
      main.manualSeed(7)
      const [model, ...args] = make({ x: main, ids: mainTokens, waves: mainWaves })
      const want = plain(await (model as AnyModel).forward(...args))

      const x = await library()
      x.manualSeed(7)
      const [remote, ...remoteArgs] = make({ x, ids, waves } as never)
      expect(plain(await (remote as AnyModel).forward(...remoteArgs))).toEqual(want)
      await (remote as RemoteModel).ready
      expect((remote as object).constructor.name).toBe(_)
    },
  )

  it('accepts tensors of the main library, and does not change them', async () => {
    const x = await library()
    const net = smallNet(x)
    const [own, mains] = [ids(1, 4), mainTokens(1, 4)]
    const mask = main.ones([1, 4], { dtype: 'bool' })
    const want = numbers(await net.forward(own, { mask: tensor([[true, true, true, true]]) }))
    expect(numbers(await net.forward(mains, { mask }))).toEqual(want)
    expect(mainNumbers(mains)).toEqual(numbers(own))
    expect(mainNumbers(mask)).toEqual([1, 1, 1, 1])
    // once more: nothing was transferred
    expect(numbers(await net.forward(own))).toEqual(want)
  })

  it('uses its arguments as they were when the call was made', async () => {
    const x = await library()
    const net = smallNet(x)
    const tokens = ids(1, 4)
    const want = numbers(await net.forward(tokens))
    const [first, second] = [net.forward(tokens), net.forward(tokens)]
    tokens.data.fill(0n as never)
    expect(numbers(await first)).toEqual(want)
    expect(numbers(await second)).toEqual(want)
  })

  it('shares its weights with the models around it', async () => {
    const x = await library()
    const model = smallModel(x)
    expect(model.net.attn_layers).toBeInstanceOf(x.Decoder)
    const [outer, inner] = [await model.stateDict(), await model.net.stateDict()]
    expect([...outer.keys()]).toEqual([...inner.keys()].map((name) => `net.${name}`))
    const ones = ({ data, shape }: HostTensor) =>
      tensor(new Float32Array(data.length).fill(1), { shape })
    const changed = new Map([...outer].map(([name, weight]) => [name, ones(weight)]))
    await model.loadStateDict(changed)
    for (const value of (await model.net.stateDict()).values())
      expect(new Set(numbers(value))).toEqual(new Set([1]))
  })

  it('has a state dict of copies, and accepts one of either library', async () => {
    const x = await library()
    const net = smallNet(x)
    main.manualSeed(3)
    const other = new main.TransformerWrapper({ ...NET, attn_layers: new main.Decoder(LAYERS) })
    expect(await net.loadStateDict(other.stateDict())).toEqual({
      missing: [],
      unexpected: [],
      mismatched: [],
      prefix: null,
    })
    expect([...(await net.stateDict())].map(([name, t]) => [name, t.shape, numbers(t)])).toEqual(
      [...other.stateDict()].map(([name, t]) => [name, t.shape, mainNumbers(t)]),
    )
    await expect(net.loadStateDict({})).rejects.toMatchObject({ code: 'invalid_checkpoint' })
    const { missing } = await net.loadStateDict({}, { strict: false })
    expect(missing.length).toBeGreaterThan(5)
  })

  it('switches dropout in call order', async () => {
    const x = await library()
    const net = smallNet(x, { ff_dropout: 0.5 })
    expect(net.training).toBe(true)
    const tokens = ids(1, 8)
    const dropped = net.forward(tokens)
    expect(net.eval()).toBe(net)
    expect([net.training, net.attn_layers.training]).toEqual([false, false])
    const [a, b] = [net.forward(tokens), net.forward(tokens)]
    net.train()
    const again = net.forward(tokens)
    expect(numbers(await a)).toEqual(numbers(await b))
    expect(numbers(await dropped)).not.toEqual(numbers(await a))
    expect(numbers(await again)).not.toEqual(numbers(await a))
  })

  it('can be inspected', async () => {
    const x = await library()
    const model = smallModel(x)
    const own = new main.AutoregressiveWrapper(
      new main.TransformerWrapper({ ...NET, attn_layers: new main.Decoder(LAYERS) }),
    )
    expect(await model.describe()).toEqual(main.describe(own))
    expect(await model.numParameters()).toBe(own.numParameters)
    // without drawing initial values
    const gpt3 = new x.Decoder({ dim: 12288, depth: 96, heads: 96, attn_dim_head: 128 })
    expect((await gpt3.describe()).num_parameters).toBeGreaterThan(1e11)
  })

  it('can be quantized, in call order', async () => {
    const x = await library()
    const wide = { dim: 32, attn_dim_head: 16 }
    const net = smallNet(x, wide)
    const tokens = ids(1, 8)
    const [before, quantized, after] = [
      net.forward(tokens),
      net.quantize('q8_0'),
      net.forward(tokens),
    ]
    expect(await quantized).toBeUndefined()
    expect(await net.quantization()).toBe('q8_0')
    expect(await net.attn_layers.quantization()).toBe('q8_0')
    expect(numbers(await after)).not.toEqual(numbers(await before))
    const model = new x.AutoregressiveWrapper(net)
    expect((await model.generate(tokens, 3)).shape).toEqual([1, 3])
    const optimizer = new x.SGD(model, { lr: 0.1 })
    const training = x.trainStep({ model, optimizer, batches: [[tokens]] })
    await expect(training).rejects.toMatchObject({ code: 'quantized' })
    await net.loadStateDict(await smallNet(x, wide).stateDict())
    expect(await net.quantization()).toBe(null)
    await x.trainStep({ model, optimizer, batches: [[tokens]] })
    await expect(net.quantize('q8' as never)).rejects.toMatchObject({ code: 'invalid_options' })
  })

  it('resolves to itself when it is awaited', async () => {
    const x = await library()
    const model = smallModel(x)
    expect(await model.ready).toBe(model)
  })
})
