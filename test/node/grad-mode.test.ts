import { describe, expect, it } from 'vitest'
import { Module, noGrad, ones, type Tensor } from 'x-transformers'
import { ids, smallModel } from '../api/helpers.js'

const pause = () => new Promise((resolve) => setTimeout(resolve))

/** An async function that the text of `() => evaluate()` does not reveal. */
async function evaluate(model: ReturnType<typeof smallModel>): Promise<Tensor[]> {
  const losses: Tensor[] = []
  for (let i = 0; i < 3; i++) {
    await pause()
    losses.push((await model.forward(ids(1, 4))).mul(ones([1], { requires_grad: true })))
  }
  return losses
}

describe('noGrad in Node', () => {
  it('applies to everything that its function starts, and to nothing else', async () => {
    const model = smallModel()
    const quiet = noGrad(() => evaluate(model))
    const training = evaluate(model)
    expect((await quiet).map((x) => x.requires_grad)).toEqual([false, false, false])
    expect((await training).map((x) => x.requires_grad)).toEqual([true, true, true])
  })

  it('distinguishes concurrent calls of one model', async () => {
    class Dual extends Module {
      a = smallModel()
      async forward(): Promise<Tensor[]> {
        const first = await this.a.forward(ids(1, 4))
        await pause()
        return [first, await this.a.forward(ids(1, 4))]
      }
    }
    const model = new Dual()
    const [quiet, training] = await Promise.all([noGrad(() => model.forward()), model.forward()])
    expect([...quiet, ...training].map((x) => x.requires_grad)).toEqual([false, false, true, true])
  })

  it('ends with the promise, also for code of its function that was not awaited', async () => {
    const model = smallModel()
    let late: Promise<Tensor> | null = null
    await noGrad(() => {
      late = pause().then(() => model.forward(ids(1, 4)))
      return Promise.resolve()
    })
    expect((await (late as unknown as Promise<Tensor>)).requires_grad).toBe(true)
  })
})
