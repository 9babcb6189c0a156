import { describe, expect, it } from 'vitest'
import { Module, noGrad, type Tensor } from 'x-transformers'
import { ids, smallModel } from '../api/helpers.js'

const pause = () => new Promise((resolve) => setTimeout(resolve))
const UNKNOWN = expect.objectContaining({
  code: 'busy',
  message: expect.stringContaining('around each call'),
})

class Dual extends Module {
  a = smallModel()
  async forward(): Promise<Tensor[]> {
    const first = await this.a.forward(ids(1, 4))
    await pause()
    return [first, await this.a.forward(ids(1, 4))]
  }
}

describe('noGrad in a browser', () => {
  it('rejects calls started after an await, as their origin is unknown', async () => {
    const model = smallModel()
    const evaluate = async () => {
      await pause()
      return (await model.forward(ids(1, 4))).item()
    }
    const own = async () => {
      await pause()
      return await new Dual().forward()
    }
    await expect(noGrad(() => evaluate())).rejects.toThrow(UNKNOWN)
    await expect(noGrad(() => own())).rejects.toThrow(UNKNOWN)
    expect((await model.forward(ids(1, 4))).requires_grad).toBe(true)
  })

  it('accepts computations that continue with their own results, and generates', async () => {
    const model = smallModel()
    const twice = noGrad(() => Promise.all([model.forward(ids(1, 4)), model.forward(ids(1, 4))]))
    const next = noGrad(() =>
      model.forward(ids(1, 4)).then((x) => x.mul(model.parameters()[0] as Tensor).sum()),
    )
    const generated = noGrad(() => pause().then(() => model.generate([1], 2)))
    const all = [...(await twice), await next, await generated]
    expect(all.map((x) => x.requires_grad)).toEqual([false, false, false, false])
  })

  it('rejects two concurrent forwards of one model if only one records graphs', async () => {
    const model = new Dual()
    const both = await Promise.allSettled([noGrad(() => model.forward()), model.forward()])
    expect(both.map(({ status }) => status)).toContain('rejected')
    for (const result of both)
      if (result.status === 'rejected') expect(result.reason).toEqual(UNKNOWN)
    expect((await noGrad(() => model.forward())).map((x) => x.requires_grad)).toEqual([
      false,
      false,
    ])
  })

  it('never returns a graph that was recorded outside', async () => {
    const [model, hidden] = [new Dual(), smallModel()]
    class Outside extends Module {
      dual = model
      async forward(): Promise<Tensor> {
        await this.dual.forward()
        return await hidden.forward(ids(1, 4))
      }
    }
    const outside = new Outside()
    await expect(noGrad(() => outside.forward())).rejects.toThrow(
      /Outside computes with|around each call/,
    )
  })
})
