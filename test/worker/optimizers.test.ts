import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import type { HostTensor, Library } from 'x-transformers/worker'
import { ids, library, mainNet, numbers, smallModel } from './helpers.js'

type Batch = [HostTensor]

describe('an optimizer in a worker', () => {
  /** A step that is large if the learning rate is. */
  async function moved(
    x: Library,
    model: ReturnType<typeof smallModel>,
    optimizer: InstanceType<Library['SGD']>,
  ) {
    const before = await model.stateDict()
    await x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })
    const after = await model.stateDict()
    return [...before]
      .filter(([name, t]) => String(numbers(t)) !== String(numbers(after.get(name) as never)))
      .map(([name]) => name)
  }

  it('uses the learning rate that was set, in call order', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0 })
    expect(await moved(x, model, optimizer)).toEqual([])
    optimizer.lr = 0.1
    expect(optimizer.lr).toBe(0.1)
    expect((await moved(x, model, optimizer)).length).toBeGreaterThan(5)
    const step = { model, optimizer, batches: [[ids(2, 9)] as Batch] }
    const pending = x.trainStep(step)
    optimizer.lr = 0
    await pending
    expect(await moved(x, model, optimizer)).toEqual([])
    await optimizer.setOptions({ lr: 0.2, momentum: 0.9 })
    expect(optimizer.lr).toBe(0.2)
    expect((await moved(x, model, optimizer)).length).toBeGreaterThan(5)
  })

  it('has the defaults of the main library', async () => {
    const x = await library()
    const model = smallModel(x)
    const own = mainNet().parameters()
    expect(new x.SGD(model).lr).toBe(new main.SGD(own).lr)
    expect(new x.Adam(model).lr).toBe(new main.Adam(own).lr)
    expect(new x.AdamW(model).lr).toBe(new main.AdamW(own).lr)
  })

  it('reports an invalid learning rate with the next call', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model)
    const step = { model, optimizer, batches: [[ids(2, 9)] as Batch] }
    optimizer.lr = -1
    await expect(x.trainStep(step)).rejects.toMatchObject({ code: 'invalid_options' })
    await x.trainStep(step)
    await expect(optimizer.setOptions({ momentums: 1 } as never)).rejects.toMatchObject({
      code: 'invalid_options',
    })
    await expect(optimizer.setOptions({ lr: 1 }, 3)).rejects.toThrow(/no group 3; there are 1/)
    await expect(optimizer.ready).resolves.toBe(optimizer)
  })

  it('has groups by parameter names', async () => {
    const x = await library()
    const model = smallModel(x)
    const { parameters } = await model.describe()
    const [matrices, vectors] = [true, false].map((many) =>
      parameters.filter(({ shape }) => shape.length > 1 === many).map(({ name }) => name),
    ) as [string[], string[]]
    const optimizer = new x.SGD([
      { model, params: matrices, lr: 0.1 },
      { model, params: vectors, lr: 0 },
    ])
    expect(optimizer.lr).toBe(0.1)
    expect((await moved(x, model, optimizer)).every((name) => matrices.includes(name))).toBe(true)
    await optimizer.setOptions({ lr: 0 }, 0)
    await optimizer.setOptions({ lr: 0.1 }, 1)
    expect((await moved(x, model, optimizer)).every((name) => vectors.includes(name))).toBe(true)

    const some = new x.SGD([{ model, params: vectors.slice(0, 1) }], { lr: 0.1 })
    expect(await moved(x, model, some)).toEqual(vectors.slice(0, 1))
    await expect(new x.SGD([{ model, params: ['nothing'] }]).ready).rejects.toThrow(
      /no parameter "nothing"/,
    )
    await expect(new x.SGD([{ model }, { model }]).ready).rejects.toThrow(/given twice/)
    expect(() => new x.SGD([] as never)).toThrow(/needs a model/)
    expect(() => new x.SGD({} as never)).toThrow(/needs a model/)
  })

  it('names every problem of its options, in every call on it', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.AdamW(model, { lr: -1, beta: [0.9, 0.9] } as never)
    const problem = { code: 'invalid_options', problems: [expect.anything(), expect.anything()] }
    await expect(x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })).rejects.toMatchObject(
      problem,
    )
    await expect(optimizer.ready).rejects.toMatchObject(problem)
  })

  it.each(['safetensors', 'torch'] as const)(
    'continues where it was saved, in the format %s',
    async (format) => {
      const x = await library()
      const model = smallModel(x)
      const optimizer = new x.AdamW(model, { lr: 0.01 })
      const step = { batches: [[ids(2, 9)] as Batch] }
      await x.trainStep({ ...step, model, optimizer })
      const [weightsThen, stateThen] = [
        await model.saveBytes(),
        await optimizer.saveBytes({ format }),
      ]
      const want = [
        await x.trainStep({ ...step, model, optimizer }),
        await x.trainStep({ ...step, model, optimizer }),
      ]

      const other = await library()
      const loaded = await other.load<typeof model>(weightsThen)
      const again = new other.AdamW(loaded)
      await again.load(stateThen)
      expect(again.lr).toBe(0.01)
      for (const result of want)
        expect(await other.trainStep({ ...step, model: loaded, optimizer: again })).toEqual(result)
      await expect(new other.SGD(loaded).load(stateThen)).rejects.toMatchObject({
        code: 'invalid_checkpoint',
      })
    },
  )

  it('can be disposed', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.AdamW(model)
    optimizer.zeroGrad()
    const step = { model, optimizer, batches: [[ids(2, 9)] as Batch] }
    const pending = x.trainStep(step)
    optimizer.dispose()
    await pending
    await expect(x.trainStep(step)).rejects.toMatchObject({ code: 'disposed' })
    await expect(optimizer.saveBytes()).rejects.toMatchObject({ code: 'disposed' })
    await model.forward(ids(2, 9))
  })
})
