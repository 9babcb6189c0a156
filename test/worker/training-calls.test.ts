// The calls of trainStep in a worker: their arguments, their order, their end.
import { describe, expect, it } from 'vitest'
import type { HostTensor } from 'x-transformers/worker'
import { collect } from '../api/helpers.js'
import { all, ids, library, numbers, smallModel, smallNet, weights } from './helpers.js'

type Batch = [HostTensor]

describe('trainStep', () => {
  it('reports invalid arguments', async () => {
    const x = await library()
    const net = smallNet(x)
    const optimizer = new x.SGD(net)
    const step = { model: net, optimizer, batches: [[ids(1, 4)]] as Batch[] }
    const wrong = (more: object) => x.trainStep({ ...step, ...more } as never)
    await expect(x.trainStep(step)).rejects.toThrow(
      /shape \[1,4,11\] and no loss: give an objective/,
    )
    await expect(wrong({ batches: [] })).rejects.toThrow(/batches must be/)
    await expect(wrong({ batches: [ids(1, 4)] })).rejects.toThrow(/batches must be/)
    await expect(wrong({ objective: { mse: [] } })).rejects.toThrow(/for each of the 1 batches/)
    await expect(wrong({ objective: {} })).rejects.toThrow(/objective must be/)
    await expect(wrong({ max_grad_norm: -1 })).rejects.toThrow(/max_grad_norm/)
    await expect(wrong({ model: optimizer })).rejects.toThrow(
      /model must be a model of this worker/,
    )
    await expect(wrong({ optimizer: net })).rejects.toThrow(/optimizer must be one of this worker/)
    await expect(wrong({ maxnorm: 1 })).rejects.toThrow(/maxnorm is not an option/)
    await expect(wrong({ signal: 5 })).rejects.toThrow(/signal must be an AbortSignal/)
    await expect(wrong({ batches: [[ids(1, 4), { maks: ids(1, 4) }]] })).rejects.toMatchObject({
      code: 'invalid_options',
      problems: [{ did_you_mean: 'mask' }],
    })
    const other = await library()
    await expect(wrong({ model: smallNet(other) })).rejects.toThrow(/must be of this worker/)
  })

  it('runs in call order: later calls see the weights after it', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const [before, , after, , last] = await Promise.all([
      model.forward(ids(2, 9)),
      x.trainStep({ model, optimizer, batches: [[ids(2, 9)], [ids(2, 7)]] }),
      model.forward(ids(2, 9)),
      x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] }),
      model.forward(ids(2, 9)),
    ])
    expect(after.item()).toBeLessThan(before.item() as number)
    expect(last.item()).toBeLessThan(after.item() as number)
  })

  it('is aborted as a whole', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const state = await model.stateDict()
    const controller = new AbortController()
    const reason = new Error('enough')
    const batches = Array.from({ length: 200 }, (): Batch => [ids(2, 9)])
    const pending = x.trainStep({ model, optimizer, batches, signal: controller.signal })
    setTimeout(() => controller.abort(reason), 5)
    await expect(pending).rejects.toBe(reason)
    expect(await weights(model)).toEqual([...state.values()].flatMap(numbers))
    await expect(
      x.trainStep({ model, optimizer, batches, signal: controller.signal }),
    ).rejects.toBe(reason)

    // its gradient does not remain in the next one
    const twin = smallModel(x)
    await twin.loadStateDict(state)
    const step = { batches: [[ids(2, 9)] as Batch], max_grad_norm: Infinity }
    const { grad_norm } = await x.trainStep({ ...step, model, optimizer })
    expect(grad_norm).toBeGreaterThan(0)
    const same = await x.trainStep({
      ...step,
      model: twin,
      optimizer: new x.SGD(twin, { lr: 0.5 }),
    })
    expect(same.grad_norm).toBe(grad_norm)
  })

  it('leaves nothing in memory', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.AdamW(model)
    const step = async () => {
      await x.trainStep({ model, optimizer, batches: [[ids(2, 9)], [ids(2, 9)]], max_grad_norm: 1 })
      await model.forward(ids(2, 9))
      await model.generate(ids(1, 3), 4)
      await all(model.stream(ids(1, 3), 4))
      await collect()
      return (await x.memory()).native_bytes
    }
    const first = await step()
    for (let i = 0; i < 20; i++) await step()
    expect(await step()).toBeLessThan(first + 4096)
  })
})
