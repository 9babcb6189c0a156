// Saved models and optimizers are loaded unchanged, or saving is an error. Files of tensors are
// tested in saved.test.ts.
import { describe, expect, it } from 'vitest'
import {
  AdamW,
  Decoder,
  load,
  loadTensors,
  Module,
  randn,
  type Tensor,
  TransformerWrapper,
  zeros,
} from 'x-transformers'
import { expectError, FakeFile } from './bytes.js'
import { ids, numbers, smallModel } from './helpers.js'

describe('a model of the package', () => {
  it('keeps its options exactly', async () => {
    for (const rate of [0.1 + 0.2, 1 / 3, 1 - 2 ** -53, 5e-324, 2 ** -40 / 3]) {
      const model = smallModel({ ff_dropout: rate, layer_dropout: rate })
      const loaded = await load<typeof model>(await model.saveBytes())
      expect(loaded.options).toEqual(model.options)
      expect(loaded.net.attn_layers.options).toMatchObject({
        ff_dropout: rate,
        layer_dropout: rate,
      })
      expect(await loaded.saveBytes()).toEqual(await model.saveBytes())
    }
  })

  it('rejects options that cannot be saved when it is constructed', () => {
    for (const dim of [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      16n,
      () => 16,
      Symbol('16'),
      new Date(),
    ]) {
      expect(() => new Decoder({ dim: dim as never, depth: 1 })).toThrowError(
        expect.objectContaining({ code: 'invalid_options' }),
      )
    }
  })
})

/** A custom model with parameters of every allowed type. */
class Own extends Module {
  net = new TransformerWrapper({
    num_tokens: 11,
    max_seq_len: 16,
    attn_layers: new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }),
  })
  heads = [randn([16, 2], { requires_grad: true }), randn([], { requires_grad: true })]
  wide = randn([3], { dtype: 'f64', requires_grad: true })
  half = randn([3], { dtype: 'f16', requires_grad: true })
  brain = randn([3], { dtype: 'bf16', requires_grad: true })
  none = zeros([0, 2], { requires_grad: true })

  async forward(x: Tensor) {
    const embedded = await this.net.forward(x, { return_embeddings: true })
    return embedded.mean(1).matmul(this.heads[0] as Tensor)
  }
}

const bitsOf = (model: Module) =>
  Array.from(model.stateDict(), ([name, x]) => [name, x.dtype, x.shape, numbers(x)])

describe('a custom model', () => {
  it('is loaded by loadWeights, with the same types', async () => {
    const model = new Own()
    for (const bytes of [
      await model.saveBytes(),
      model.saveBytesSync(),
      await (await model.saveBlob()).arrayBuffer(),
    ]) {
      const [first, second] = [new Own(), new Own()]
      expect(await first.loadWeights(bytes)).toMatchObject({
        missing: [],
        unexpected: [],
        mismatched: [],
      })
      second.loadWeightsSync(bytes)
      for (const loaded of [first, second]) expect(bitsOf(loaded)).toEqual(bitsOf(model))
      expect(numbers(await first.forward(ids(1, 4)))).toEqual(
        numbers(await model.forward(ids(1, 4))),
      )
    }
    expect((await loadTensors(await model.saveBytes())).metadata).toEqual({
      format: 'pt',
      class: 'Own',
    })
  })

  it('may have a class with any name', async () => {
    for (const name of [5, '\ud800', undefined, () => 1]) {
      const Odd = class extends Own {}
      Object.defineProperty(Odd, 'name', { value: name })
      expect((await loadTensors(await new Odd().saveBytes())).metadata).toEqual({
        format: 'pt',
        class: '',
      })
    }
  })

  it('is rejected if a parameter could not be found again', async () => {
    const named = (name: string) =>
      Object.assign(new Own(), { [name]: randn([1], { requires_grad: true }) })
    for (const [name, code, words] of [
      ['__metadata__', 'invalid_argument', /the name __metadata__/],
      ['\ud800', 'invalid_argument', /half of a surrogate pair/],
      ['heads.0', 'invalid_state', /two parameters of this model have the name heads\.0/],
    ] as const) {
      const model = named(name)
      const file = new FakeFile(Uint8Array.of(1))
      await expectError(model.saveBytes(), code, words)
      await expectError(model.save(file), code, words)
      expect(() => model.saveBytesSync()).toThrowError(expect.objectContaining({ code }))
      expect(file.content.length).toBe(1)
    }
    expect(() => named('heads.0').parameters()).toThrow(/have the name heads\.0/)
  })
})

describe('the state of an optimizer', () => {
  it('is loaded exactly', async () => {
    const model = new Own()
    const options = {
      lr: 0.1 + 0.2,
      betas: [1 / 3, 0.999] as [number, number],
      eps: 5e-324,
      weight_decay: 1 / 7,
    }
    const optimizer = new AdamW(model.parameters(), options)
    await (await model.forward(ids(2, 5))).sum().backward()
    await optimizer.step()
    const bytes = await optimizer.saveBytes()
    const other = new AdamW(new Own().parameters())
    await other.load(bytes)
    expect(other.param_groups[0]).toMatchObject(options)
    expect(await other.saveBytes()).toEqual(bytes)
    const state = ({ state }: ReturnType<AdamW['stateDict']>) =>
      Array.from(state, ([name, x]) => [name, x.dtype, x.shape, numbers(x)])
    expect(state(other.stateDict())).toEqual(state(optimizer.stateDict()))
  })
})
