// Single layers, alone and in models of the user's own.
import { expect, it, describe as suite } from 'vitest'
import {
  AdamW,
  crossEntropy,
  Dropout,
  describe,
  Embedding,
  FeedForward,
  LayerNorm,
  Linear,
  load,
  Module,
  manualSeed,
  ones,
  RMSNorm,
  randn,
  type Tensor,
  tensor,
} from 'x-transformers'
import { expectThrows, numbers } from './helpers.js'
import { PARTS } from './zoo.js'

/** The standard deviation of some values. */
const deviation = (x: Tensor) => x.std().item() as number
const weight = (model: Module, name = 'weight') => model.namedParameters().get(name) as Tensor

suite.each(Object.entries(PARTS))('%s', (name, [make, run]) => {
  const values = async (model: Module) => {
    manualSeed(7)
    return numbers(await run(model))
  }

  it('is loaded from a checkpoint with its options', async () => {
    const model = make()
    const want = await values(model)
    const loaded = await load(await model.saveBytes())
    expect(loaded.constructor).toBe(model.constructor)
    expect(loaded.options).toEqual(model.options)
    expect(describe(loaded)).toEqual(describe(model))
    expect(await values(loaded)).toEqual(want)
  })

  it('has a description', () => {
    const model = make()
    const { class: of, options, parameters } = describe(model)
    expect([of, options]).toEqual([name, model.options])
    expect(parameters.map((p) => p.name)).toEqual([...model.namedParameters().keys()])
    expect(String(model).startsWith(`${name}(`)).toBe(true)
  })

  it('gives the same at once', async () => {
    const model = make().eval()
    const input = name === 'Embedding' ? tensor([[1, 2]], { dtype: 'i64' }) : randn([2, 4, 16])
    const sync = (model as unknown as { forwardSync(x: Tensor): Tensor }).forwardSync(input)
    expect(numbers(sync)).toEqual(numbers((await model.forward(input)) as Tensor))
  })

  it('refuses options and arguments that it does not have', async () => {
    const Class = make().constructor as new (options: object) => Module
    expectThrows(
      () => new Class({ ...(make().options as object), biass: 1 }),
      'invalid_options',
      'biass',
    )
    const forward = make().forward(ones([1, 4, 16]), { mask: true })
    await expect(forward).rejects.toMatchObject({ code: 'invalid_options' })
  })
})

suite('initial values are those of PyTorch:', () => {
  it('of a linear layer, uniform by its inputs', () => {
    const model = new Linear({ in_features: 400, out_features: 300 })
    for (const name of ['weight', 'bias']) {
      const values = weight(model, name)
      const most = values.abs().max().item() as number
      expect(most).toBeLessThanOrEqual(0.05)
      expect(most).toBeGreaterThan(0.049)
      // of a uniform distribution: the bound over the root of 3
      expect(deviation(values)).toBeCloseTo(0.05 / Math.sqrt(3), 2)
    }
    expect(weight(model).shape).toEqual([300, 400])
  })

  it('of an embedding, normal, and 0 at the padding', () => {
    const sizes = { num_embeddings: 500, embedding_dim: 40 }
    const plain = weight(new Embedding(sizes))
    expect(plain.shape).toEqual([500, 40])
    expect(Math.abs((plain.mean().item() as number) * Math.sqrt(20_000))).toBeLessThan(5)
    expect(Math.abs(deviation(plain) - 1)).toBeLessThan(0.03)
    const padded = weight(new Embedding({ ...sizes, padding_idx: -1 }))
    expect(padded.eq(0).all(1).toArray()).toEqual(Array.from({ length: 500 }, (_, i) => i === 499))
  })

  it('of norms, 1 and 0', () => {
    const norm = new LayerNorm({ normalized_shape: [2, 3] })
    expect([weight(norm).toArray(), weight(norm, 'bias').toArray()]).toEqual([
      ones([2, 3]).toArray(),
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
    ])
    expect(weight(new RMSNorm({ normalized_shape: 3 })).toArray()).toEqual([1, 1, 1])
  })

  it('from the seed and the order of construction', () => {
    const values = () => {
      manualSeed(3)
      const [a, b] = [0, 1].map(() => new Linear({ in_features: 3, out_features: 2 }))
      // drawn at first use, in whichever order
      return [b, a].map((model) => weight(model as Linear).toArray())
    }
    const [b, a] = values()
    expect(values()).toEqual([b, a])
    expect(a).not.toEqual(b)
  })
})

suite('dropout', () => {
  it('drops by its probability, and scales up what stays', async () => {
    const model = new Dropout({ p: 0.25 })
    const y = await model.forward(ones([100, 100]))
    const kept = y.ne(0)
    const share = kept.to('f32').mean().item() as number
    expect(Math.abs(share - 0.75)).toBeLessThan(0.02)
    expect(
      kept
        .where(y.sub(4 / 3).abs(), 0)
        .max()
        .item(),
    ).toBeLessThan(1e-6)
    expect(numbers(await model.eval().forward(ones([3])))).toEqual([1, 1, 1])
  })

  it('of everything gives zeros', async () => {
    expect(numbers(await new Dropout({ p: 1 }).forward(ones([4])))).toEqual([0, 0, 0, 0])
    expect((new Dropout().options as { p?: number }).p).toBeUndefined()
  })
})

suite('what does not fit is an error that says what would:', () => {
  it('shapes', async () => {
    const norm = new LayerNorm({ normalized_shape: [2, 3] })
    await expect(norm.forward(ones([4, 3]))).rejects.toThrow('x must have shape (.., 2, 3)')
    await expect(new RMSNorm({ normalized_shape: 3 }).forward(tensor(1))).rejects.toMatchObject({
      code: 'invalid_tensor',
    })
    const linear = new Linear({ in_features: 3, out_features: 2 })
    await expect(linear.forward(ones([4, 2]))).rejects.toMatchObject({ code: 'invalid_tensor' })
    await expect(linear.forward(tensor(1))).rejects.toMatchObject({ code: 'invalid_tensor' })
    await expect(new FeedForward({ dim: 4 }).forward(ones([2, 3]))).rejects.toMatchObject({
      code: 'invalid_tensor',
    })
  })

  it('types', async () => {
    const whole = tensor([[1, 2, 3]], { dtype: 'i64' })
    const linear = new Linear({ in_features: 3, out_features: 2 })
    await expect(linear.forward(whole)).rejects.toThrow('floating-point')
    await expect(new Dropout().forward(whole)).rejects.toThrow('floating-point')
    const table = new Embedding({ num_embeddings: 3, embedding_dim: 2 })
    await expect(table.forward(ones([2]) as never)).rejects.toThrow('i64')
    await expect(table.forward([1, 3])).rejects.toThrow('3')
  })

  it('options', () => {
    const sizes = { num_embeddings: 3, embedding_dim: 2 }
    expectThrows(
      () => new Embedding({ ...sizes, padding_idx: 3 }),
      'invalid_options',
      'padding_idx: must be an index of the 3',
    )
    expectThrows(
      () => new Embedding({ ...sizes, padding_idx: -4 }),
      'invalid_options',
      'padding_idx: must be an index of the 3',
    )
    expectThrows(
      () => new LayerNorm({ normalized_shape: [] }),
      'invalid_options',
      'normalized_shape: needs the length',
    )
    expectThrows(() => new Dropout({ p: 1.5 }), 'invalid_options', 'p: got 1.5')
    expectThrows(
      () => new Linear({ in_features: 0, out_features: 1 }),
      'invalid_options',
      'in_features: got 0',
    )
  })
})

class Block extends Module {
  embedding = new Embedding({ num_embeddings: 11, embedding_dim: 16 })
  norm = new RMSNorm({ normalized_shape: 16 })
  block = new FeedForward({ dim: 16, mult: 2, swish: true, glu: true })
  dropout = new Dropout({ p: 0.1 })
  head = new Linear({ in_features: 16, out_features: 3 })

  async forward(x: readonly number[][]) {
    const embedded = await this.embedding.forward(x)
    const y = await this.block.forward(await this.norm.forward(embedded))
    return this.head.forward(await this.dropout.forward(embedded.add(y).mean(1)))
  }
}

suite('a model of the user’s own, of single layers', () => {
  const x = Array.from({ length: 12 }, (_, i) => [i % 11, (3 * i) % 11, (7 * i) % 11])
  const labels = x.map(([first]) => (first as number) % 3)

  it('learns', async () => {
    manualSeed(1)
    const model = new Block()
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
    const losses: number[] = []
    for (let i = 0; i < 60; i++) {
      const loss = crossEntropy(await model.forward(x), labels)
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
      losses.push(loss.item() as number)
    }
    expect(losses[0]).toBeGreaterThan(0.8)
    expect(losses.at(-1)).toBeLessThan(0.1)
    const { values, indices } = (await model.eval().forward(x)).topk(1)
    expect(values.shape).toEqual([12, 1])
    expect(indices.squeeze(1).toArray()).toEqual(labels)
  })

  it('has the names and the mode of its parts, and is saved and loaded', async () => {
    const model = new Block()
    expect([...model.stateDict().keys()]).toEqual([
      'embedding.weight',
      'norm.weight',
      'block.ff.0.proj.weight',
      'block.ff.0.proj.bias',
      'block.ff.3.weight',
      'block.ff.3.bias',
      'head.weight',
      'head.bias',
    ])
    model.eval()
    expect(model.dropout.training).toBe(false)
    const other = new Block().eval()
    other.loadWeightsSync(await model.saveBytes())
    expect(numbers(await other.forward(x))).toEqual(numbers(await model.forward(x)))
  })
})
