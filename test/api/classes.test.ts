import { expect, it, describe as suite } from 'vitest'
import {
  type AutoregressiveWrapper,
  describe,
  load,
  loadTensors,
  type Module,
  manualSeed,
  NonAutoregressiveWrapper,
  type Tensor,
} from 'x-transformers'
import { bytesInUse, collect, numbers } from './helpers.js'
import { masked, ZOO } from './zoo.js'

/** The output of a model, with the same random numbers each time. */
async function values(model: Module, run: (model: Module) => Promise<Tensor>): Promise<number[]> {
  manualSeed(7)
  using y = await run(model)
  return numbers(y)
}

const sizeOf = (x: Tensor) => x.shape.reduce((a, b) => a * b, 1)

suite.each(Object.entries(ZOO))('%s', (name, [make, run]) => {
  it('gives finite numbers, and trains', async () => {
    const model = make()
    const y = await run(model)
    expect(numbers(y).every(Number.isFinite)).toBe(true)
    await y.sum().backward()
    expect(model.parameters().filter((p) => p.grad !== null).length).toBeGreaterThan(0)
  })

  it('is loaded from a checkpoint with its options and the models inside', async () => {
    const model = make()
    const want = await values(model, run)
    const bytes = await model.saveBytes()
    const loaded = await load(bytes)
    expect(loaded.constructor).toBe(model.constructor)
    expect(loaded.options).toEqual(model.options)
    expect(describe(loaded)).toEqual(describe(model))
    expect([...loaded.stateDict().keys()]).toEqual([...model.stateDict().keys()])
    expect(await values(loaded, run)).toEqual(want)

    const other = make()
    other.loadStateDict((await loadTensors(bytes)).tensors)
    expect(await values(other, run)).toEqual(want)
  })

  it('has dropout in training only, also in the models inside', async () => {
    const model = make()
    const training = await values(model, run)
    expect(model.training).toBe(true)
    const evaluated = await values(model.eval(), run)
    expect(evaluated).not.toEqual(training)
    expect(await values(model, run)).toEqual(evaluated)
    expect(await values(model.train(), run)).toEqual(training)
  })

  it('has a description', () => {
    const model = make()
    const description = describe(model)
    expect(description.class).toBe(name)
    expect(description.options).toEqual(model.options)
    expect(description.parameters.map((p) => p.name)).toEqual([...model.namedParameters().keys()])
    expect(description.parameters.map((p) => p.shape)).toEqual(
      model.parameters().map((p) => p.shape),
    )
    expect(description.num_parameters).toBe(
      model.parameters().reduce((sum, p) => sum + sizeOf(p), 0),
    )
    expect(description.num_parameters).toBe(model.numParameters)
    expect(String(model).startsWith(`${name}(`)).toBe(true)
  })
})

suite('the mode of a model', () => {
  it('applies to every model inside', async () => {
    const [make] = ZOO.AutoregressiveWrapper as (typeof ZOO)[string]
    const model = make() as AutoregressiveWrapper
    model.eval()
    expect([model.net.training, model.net.attn_layers.training]).toEqual([false, false])
    model.net.train()
    expect([model.training, model.net.attn_layers.training]).toEqual([false, true])
  })

  it('applies to a critic', () => {
    const critic = masked(1)
    const model = new NonAutoregressiveWrapper(masked(), { mask_id: 10, token_critic: critic })
    model.eval()
    expect(model.token_critic).toBe(critic)
    expect(critic.training).toBe(false)
  })
})

suite('the memory of a model', () => {
  const useAll = async () => {
    for (const [make, run] of Object.values(ZOO)) {
      using y = await run(make())
      expect(y.shape).toBeDefined()
    }
  }

  it('is freed once the model is unreachable', async () => {
    await useAll()
    await collect()
    const before = bytesInUse()
    await useAll()
    await collect()
    expect(bytesInUse()).toBeLessThan(before + 4096)
  })
})
