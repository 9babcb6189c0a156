import { describe, expect, it } from 'vitest'
import { Module, noGrad, ones, type Tensor } from 'x-transformers'
import { ids, smallModel } from '../api/helpers.js'

const pause = () => new Promise((resolve) => setTimeout(resolve))

/** What nobody recognises as async by the text of `() => evaluate()`. */
async function evaluate(model: ReturnType<typeof smallModel>): Promise<Tensor[]> {
  const losses: Tensor[] = []
  for (let i = 0; i < 3; i++) {
    await pause()
    losses.push((await model.forward(ids(1, 4))).mul(ones([1], { requires_grad: true })))
  }
  return losses
}

describe('noGrad in Node', () => {
  it('holds for all that the code of its function starts, and for nothing else', async () => {
    const model = smallModel()
    const quiet = noGrad(() => evaluate(model))
    const training = evaluate(model)
    expect((await quiet).map((x) => x.requires_grad)).toEqual([false, false, false])
    expect((await training).map((x) => x.requires_grad)).toEqual([true, true, true])
  })

  it('tells the calls of one model apart', async () => {
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

  it('ends with the promise, also for code of its function that nobody waited for', async () => {
    const model = smallModel()
    let late: Promise<Tensor> | null = null
    await noGrad(() => {
      late = pause().then(() => model.forward(ids(1, 4)))
      return Promise.resolve()
    })
    expect((await (late as unknown as Promise<Tensor>)).requires_grad).toBe(true)
  })
})
