import { beforeEach, describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  Decoder,
  Encoder,
  load,
  Module,
  NonAutoregressiveWrapper,
  noGrad,
  randn,
  SGD,
  type Tensor,
  TransformerWrapper,
  ViTransformerWrapper,
  XTransformer,
} from 'x-transformers'
import { bytesInUse, collect, ids } from './helpers.js'

const SLACK = 64 * 1024
const LAYERS = { dim: 128, depth: 2, heads: 4, attn_dim_head: 32 }
const decoder = () => new Decoder(LAYERS)
const net = (layers: Decoder | Encoder = decoder()) =>
  new TransformerWrapper({ num_tokens: 257, max_seq_len: 16, attn_layers: layers })

/** Draws the initial values and returns the bytes of all weights. */
function drawn(model: Module): number {
  for (const parameter of model.parameters()) parameter.detach().dispose()
  return model.numParameters * 4
}

const DISPOSED = expect.objectContaining({ name: 'XTransformersError', code: 'disposed' })

const WRAPPERS: [name: string, make: () => Module & { dispose(): void }][] = [
  ['Decoder', decoder],
  ['TransformerWrapper', net],
  ['AutoregressiveWrapper', () => new AutoregressiveWrapper(net())],
  [
    'NonAutoregressiveWrapper',
    () => new NonAutoregressiveWrapper(net(new Encoder(LAYERS)), { mask_id: 256 }),
  ],
  [
    'NonAutoregressiveWrapper, with a critic of its own',
    () =>
      new NonAutoregressiveWrapper(net(new Encoder(LAYERS)), {
        mask_id: 256,
        self_token_critic: true,
      }),
  ],
  [
    'NonAutoregressiveWrapper, with a critic',
    () => {
      const token_critic = new TransformerWrapper({
        num_tokens: 257,
        max_seq_len: 16,
        logits_dim: 1,
        attn_layers: new Encoder(LAYERS),
      })
      return new NonAutoregressiveWrapper(net(new Encoder(LAYERS)), { mask_id: 256, token_critic })
    },
  ],
  [
    'ContinuousAutoregressiveWrapper',
    () =>
      new ContinuousAutoregressiveWrapper(
        new ContinuousTransformerWrapper({
          dim_in: 8,
          dim_out: 8,
          max_seq_len: 16,
          attn_layers: decoder(),
        }),
      ),
  ],
  [
    'ViTransformerWrapper',
    () =>
      new ViTransformerWrapper({
        image_size: 32,
        patch_size: 8,
        num_classes: 3,
        attn_layers: new Encoder(LAYERS),
      }),
  ],
  [
    'XTransformer',
    () =>
      new XTransformer({
        dim: 128,
        tie_token_emb: true,
        enc_num_tokens: 64,
        enc_depth: 1,
        enc_heads: 4,
        enc_max_seq_len: 16,
        dec_num_tokens: 64,
        dec_depth: 1,
        dec_heads: 4,
        dec_max_seq_len: 16,
      }),
  ],
]

// what earlier tests left must not be collected while a test counts bytes
beforeEach(collect)

describe('dispose of a model', () => {
  it.each(WRAPPERS)('frees all of its memory: %s', async (_, make) => {
    const before = bytesInUse()
    const model = make()
    const bytes = drawn(model)
    expect(bytes).toBeGreaterThan(4 * SLACK)
    expect(bytesInUse() - before).toBeGreaterThan(bytes - SLACK)
    // parameter lists and optimizers do not keep memory
    const parameters = model.parameters()
    const optimizer = new SGD(parameters, { lr: 0.1 })
    model.dispose()
    expect(bytesInUse() - before).toBeLessThan(SLACK)
    expect(() => model.parameters()).toThrow(DISPOSED)
    expect(() => parameters[0]?.shape).toThrow(DISPOSED)
    expect(() => model.saveBytesSync()).toThrow(DISPOSED)
    expect(String(model)).toMatch(/^[A-Za-z]+\(disposed\)$/)
    await expect(optimizer.step()).rejects.toThrow(DISPOSED)
    model.dispose()
  })

  it('frees a loaded model', async () => {
    const saved = new AutoregressiveWrapper(net())
    const bytes = await saved.saveBytes()
    saved.dispose()
    await collect()
    const before = bytesInUse()
    const model = await load<AutoregressiveWrapper>(bytes)
    const size = drawn(model)
    expect(bytesInUse() - before).toBeGreaterThan(size - SLACK)
    model.dispose()
    expect(bytesInUse() - before).toBeLessThan(SLACK)
  })

  it('waits for earlier calls', async () => {
    const model = new AutoregressiveWrapper(net())
    const before = [model.forward(ids(2, 9)), model.saveBytes(), model.generate([1, 2], 3)]
    model.dispose()
    const late = model.forward(ids(2, 9))
    await expect(late).rejects.toThrow(DISPOSED)
    expect(((await before[0]) as Tensor).item()).toBeGreaterThan(0)
    await Promise.all(before)
  })

  it('ends a stream', async () => {
    const model = new AutoregressiveWrapper(net())
    const stream = model.stream([1, 2], 9)[Symbol.asyncIterator]()
    expect((await stream.next()).done).toBe(false)
    model.dispose()
    await expect(stream.next()).rejects.toThrow(DISPOSED)
  })

  it('keeps the result of a call, without its graph', async () => {
    const model = new AutoregressiveWrapper(net())
    const loss = await model.forward(ids(2, 9))
    model.dispose()
    expect(loss.item()).toBeGreaterThan(0)
    await expect(loss.backward()).rejects.toThrow(DISPOSED)
  })

  it('does not free the averages of an optimizer', async () => {
    const before = bytesInUse()
    const model = new AutoregressiveWrapper(net())
    const optimizer = new AdamW(model.parameters(), { lr: 0.1 })
    const loss = await model.forward(ids(2, 9))
    await loss.backward()
    await optimizer.step()
    const bytes = drawn(model)
    loss.dispose()
    model.dispose()
    expect(bytesInUse() - before).toBeGreaterThan(2 * bytes - SLACK)
    expect(bytesInUse() - before).toBeLessThan(2.2 * bytes)
    await expect(optimizer.step()).rejects.toThrow(DISPOSED)
    optimizer.dispose()
    expect(bytesInUse() - before).toBeLessThan(2 * SLACK)
  })
})

/** The result of a forward, which keeps no reference to the model. */
async function lossOf(model: AutoregressiveWrapper): Promise<number> {
  using loss = await noGrad(() => model.forward(ids(2, 9)))
  return Number(loss.item())
}

async function shapeOf(model: { forward(x: Tensor): Promise<Tensor> }): Promise<readonly number[]> {
  using logits = await noGrad(() => model.forward(ids(2, 9)))
  return logits.shape
}

describe('weights that several models share', () => {
  it('stay until the last of two wrappers is disposed', async () => {
    const before = bytesInUse()
    const inner = net()
    const [a, b] = [
      new AutoregressiveWrapper(inner),
      new AutoregressiveWrapper(inner, { pad_value: 1 }),
    ]
    const want = await lossOf(a)
    a.dispose()
    expect(await lossOf(b)).toBe(want)
    expect(await shapeOf(inner)).toEqual([2, 9, 257])
    expect(b.parameters()[0]?.shape).toEqual([257, 128])
    await expect(a.forward(ids(2, 9))).rejects.toThrow(DISPOSED)
    b.dispose()
    expect(bytesInUse() - before).toBeLessThan(2 * SLACK)
    await expect(inner.forward(ids(2, 9))).rejects.toThrow(
      /TransformerWrapper was disposed with the AutoregressiveWrapper/,
    )
  })

  it('stay in the wrapper when the net was disposed first', async () => {
    const before = bytesInUse()
    const inner = net()
    const model = new AutoregressiveWrapper(inner)
    const want = await lossOf(model)
    inner.dispose()
    await expect(inner.forward(ids(2, 9))).rejects.toThrow(DISPOSED)
    expect(() => new AutoregressiveWrapper(inner)).toThrow(DISPOSED)
    expect(await lossOf(model)).toBe(want)
    // its parameters stay accessible, even for the first time
    const optimizer = new SGD(model.parameters(), { lr: 0.1 })
    using loss = await model.forward(ids(2, 9))
    await loss.backward()
    await optimizer.step()
    optimizer.zeroGrad()
    expect(await lossOf(model)).not.toBe(want)
    expect(model.eval().training).toBe(false)
    model.dispose()
    expect(bytesInUse() - before).toBeLessThan(2 * SLACK)
  })

  it('stay in a net around layers that another wrapper had', async () => {
    const layers = decoder()
    const [a, b] = [net(layers), net(layers)]
    new AutoregressiveWrapper(a).dispose()
    expect(await shapeOf(b)).toEqual([2, 9, 257])
    await expect(a.forward(ids(2, 9))).rejects.toThrow(DISPOSED)
    b.dispose()
    await expect(layers.forward(randn([1, 2, 128]))).rejects.toThrow(DISPOSED)
  })

  it('stay in a part of a loaded model that is used in another model', async () => {
    const loaded = await load<AutoregressiveWrapper>(
      await new AutoregressiveWrapper(net()).saveBytes(),
    )
    const other = new AutoregressiveWrapper(loaded.net)
    loaded.dispose()
    expect(await lossOf(other)).toBeGreaterThan(0)
  })

  it('stay in a custom Module that was used', async () => {
    class Both extends Module {
      readonly inner: TransformerWrapper
      constructor(inner: TransformerWrapper) {
        super()
        this.inner = inner
      }
      forward(x: Tensor): Promise<Tensor> {
        return this.inner.forward(x)
      }
    }
    const before = bytesInUse()
    const inner = net()
    const [own, model] = [new Both(inner), new AutoregressiveWrapper(inner)]
    own.eval()
    model.dispose()
    expect(await shapeOf(own)).toEqual([2, 9, 257])
    own.dispose()
    expect(bytesInUse() - before).toBeLessThan(2 * SLACK)
    expect(() => own.parameters()).toThrow(DISPOSED)
  })
})

class Around extends Module {
  // parts, which may be replaced
  [name: string]: unknown
  constructor(parts: object) {
    super()
    Object.assign(this, parts)
  }
  forward(x: Tensor): Promise<Tensor> {
    return (this.inner as TransformerWrapper | Around).forward(x) as Promise<Tensor>
  }
}

describe('custom models that share weights', () => {
  it('keep them, even if their parameters were never accessed', async () => {
    const inner = net()
    const [a, b] = [new Around({ inner }), new Around({ inner })]
    await a.forward(ids(2, 9))
    a.dispose()
    expect(await shapeOf(b)).toEqual([2, 9, 257])
    new AutoregressiveWrapper(inner).dispose()
    expect(await shapeOf(b)).toEqual([2, 9, 257])
    b.dispose()
    await expect(inner.forward(ids(2, 9))).rejects.toThrow(DISPOSED)
  })

  it('keep those that were assigned after the last access', async () => {
    const inner = net()
    const [a, b] = [new Around({ inner }), new Around({})]
    expect(b.parameters()).toEqual([])
    b.inner = inner
    a.dispose()
    expect(await shapeOf(b)).toEqual([2, 9, 257])
    const c = new Around({ inner })
    expect(b.parameters().length).toBeGreaterThan(1)
    b.inner = null
    c.dispose()
    expect(() => inner.parameters()).toThrow(DISPOSED)
  })

  it('free them even if a part refers to its parent, or a getter throws', () => {
    const before = bytesInUse()
    const child = new Around({ weight: randn([512, 512], { requires_grad: true }) })
    const parent = new Around({ child })
    child.parent = parent
    const failing = new Around({})
    Object.defineProperty(failing, 'bad', {
      enumerable: true,
      get() {
        throw new Error('not now')
      },
    })
    expect(bytesInUse() - before).toBeGreaterThan(2 ** 20)
    parent.dispose()
    expect(bytesInUse() - before).toBeLessThan(SLACK)
    expect(() => child.parameters()).toThrow(DISPOSED)
    child.dispose()
    expect(() => failing.parameters()).toThrow('not now')
  })

  it('leave weights of a disposed part to its parent', () => {
    const before = bytesInUse()
    const child = new Around({ weight: randn([512, 512], { requires_grad: true }) })
    const parent = new Around({ child, extra: [child.weight] })
    child.dispose()
    expect(() => child.parameters()).toThrow(DISPOSED)
    expect((child.weight as Tensor).shape).toEqual([512, 512])
    parent.dispose()
    expect(bytesInUse() - before).toBeLessThan(SLACK)
  })
})

describe('dispose of a custom Module', () => {
  it('keeps parameters of another live Module, and those of another model', async () => {
    class Head extends Module {
      readonly weight: Tensor
      constructor(weight: Tensor) {
        super()
        this.weight = weight
      }
      forward(): Tensor {
        return this.weight.mul(2)
      }
    }
    const weight = randn([3], { requires_grad: true })
    const [a, b] = [new Head(weight), new Head(weight)]
    expect([a.numParameters, b.numParameters]).toEqual([3, 3])
    a.dispose()
    expect(b.forward().shape).toEqual([3])
    b.dispose()
    expect(() => weight.shape).toThrow(DISPOSED)
    const model = new AutoregressiveWrapper(net())
    const tied = new Head(model.parameters()[0] as Tensor)
    expect(tied.numParameters).toBeGreaterThan(0)
    tied.dispose()
    expect((await model.forward(ids(2, 9))).item()).toBeGreaterThan(0)
  })

  it('frees its own parameters, also those that an optimizer refers to', async () => {
    class Head extends Module {
      weight = randn([512, 512], { requires_grad: true })
      more = [randn([512, 512], { requires_grad: true })]
      forward(): Tensor {
        return this.weight
      }
    }
    const before = bytesInUse()
    const head = new Head()
    const optimizer = new SGD(head.parameters(), { lr: 0.1 })
    head.weight.sum().backwardSync()
    expect(bytesInUse() - before).toBeGreaterThan(2 ** 20)
    head.dispose()
    expect(bytesInUse() - before).toBeLessThan(SLACK)
    expect(() => head.parameters()).toThrow(DISPOSED)
    await expect(optimizer.step()).rejects.toThrow(DISPOSED)
  })
})
