import { describe, expect, it } from 'vitest'
import { manualSeed, noGrad, ones, SGD } from 'x-transformers'
import { ids, largerModel, numbers, smallModel } from './helpers.js'

describe('heavy calls', () => {
  it('on one model may overlap when they only read', async () => {
    const model = smallModel()
    const [a, b] = [ids(2, 9), ids(2, 9)]
    const both = [model.forward(a), model.forward(b)]
    // neither was awaited: a synchronous read finds no conflict
    const third = model.forwardSync(a).item()
    const losses = await Promise.all(both)
    expect(losses.map((loss) => loss.item())).toEqual([third, third])
  })

  it('run in program order: a forward called before a step sees the weights before it', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters(), { lr: 0.5 })
    const x = ids(2, 9)
    const alone = (await noGrad(() => model.forward(x))).item()
    const loss = await model.forward(x)
    await loss.backward()
    const before = noGrad(() => model.forward(x))
    const step = optimizer.step()
    const after = noGrad(() => model.forward(x))
    expect((await before).item()).toBe(alone)
    await step
    expect((await after).item()).not.toBe(alone)
  })

  it('zero the gradients in call order', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters(), { lr: 0.5 })
    const [first] = model.parameters()
    const loss = await model.forward(ids(2, 9))
    const before = numbers(first as NonNullable<typeof first>)
    const pending = loss.backward()
    const step = optimizer.step()
    optimizer.zeroGrad()
    await Promise.all([pending, step])
    expect(await first?.data()).not.toEqual(Float32Array.from(before))
    expect(first?.grad).toBeNull()
  })

  it('make synchronous calls on the same weights fail as busy', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters())
    const loss = await model.forward(ids(2, 9))
    const pending = loss.backward()
    const busy = expect.objectContaining({ code: 'busy' })
    for (const call of [
      () => optimizer.stepSync(),
      () => model.loadStateDict(model.stateDict()),
      () => model.to('cpu'),
      () => model.parameters()[0]?.grad,
      () => model.parameters()[0]?.dataSync(),
    ]) {
      expect(call).toThrowError(busy)
    }
    expect(loss.item()).toBeGreaterThan(0)
    await pending
    optimizer.stepSync()
  })

  it('continue after one that failed', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters())
    const loss = await model.forward(ids(2, 9))
    await loss.backward()
    const failing = loss.backward()
    const step = optimizer.step()
    const next = model.forward(ids(2, 9))
    await expect(failing).rejects.toThrow(/retain_graph/)
    await step
    expect((await next).item()).toBeGreaterThan(0)
  })

  it('keep what they use when the user disposes it', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters(), { lr: 0 })
    const want = (await model.forward(ids(2, 9))).item()
    const loss = await model.forward(ids(2, 9))
    await loss.backward()
    const step = optimizer.step()
    const x = ids(2, 9)
    const pending = model.forward(x)
    x.dispose()
    await step
    expect((await pending).item()).toBe(want)
  })

  it('use the mode of when they were called, although it changes before they start', async () => {
    manualSeed(1)
    const model = smallModel({ attn_dropout: 0.5, ff_dropout: 0.5 }).eval()
    const x = ids(2, 9)
    const quiet = model.forwardSync(x).item()
    const pending = model.forward(x)
    model.train()
    expect(model.training).toBe(true)
    expect((await pending).item()).toBe(quiet)
  })
})

describe('an abort signal', () => {
  it('that was already aborted rejects with its reason', async () => {
    const reason = new Error('not now')
    const signal = AbortSignal.abort(reason)
    const model = smallModel()
    await expect(model.forward(ids(2, 9), { signal })).rejects.toBe(reason)
    await expect(ones([1], { requires_grad: true }).sum().backward({ signal })).rejects.toBe(reason)
  })

  it('aborts a running call, and the model stays usable', async () => {
    const controller = new AbortController()
    const model = largerModel()
    const pending = model.forward(ids(8, 257, 256), { signal: controller.signal })
    controller.abort('stop')
    await expect(pending).rejects.toBe('stop')
    const loss = await model.forward(ids(1, 9))
    expect(loss.item()).toBeGreaterThan(0)
  })

  it('must be an AbortSignal', async () => {
    await expect(smallModel().forward(ids(2, 9), { signal: 5 as never })).rejects.toThrow(
      /AbortSignal/,
    )
  })
})
