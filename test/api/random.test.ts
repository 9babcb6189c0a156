import { describe, expect, it } from 'vitest'
import { manualSeed, noGrad, rand, randint, randn } from 'x-transformers'
import { ids, numbers, smallModel } from './helpers.js'

describe('manualSeed', () => {
  it('gives the same numbers again', () => {
    const draw = () => {
      manualSeed(42)
      return [rand([3]), randn([3]), randint(0, 100, [3])].map(numbers)
    }
    expect(draw()).toEqual(draw())
    const [first] = draw()
    manualSeed(43)
    expect(numbers(rand([3]))).not.toEqual(first)
  })

  it('gives the same model again', () => {
    const weights = () => {
      manualSeed(7)
      return smallModel().parameters().map(numbers)
    }
    expect(weights()).toEqual(weights())
  })

  it.each([-1, 0.5, 2 ** 53, Number.NaN, '1'])('refuses %s', (value) => {
    expect(() => manualSeed(value as number)).toThrow(/2\^53/)
  })
})

describe('random numbers of a call', () => {
  it('do not depend on when it runs', async () => {
    const model = smallModel({ attn_dropout: 0.3, ff_dropout: 0.3 })
    const x = ids(2, 9)
    manualSeed(5)
    const first = (await noGrad(() => model.forward(x))).item()
    const second = (await noGrad(() => model.forward(x))).item()
    expect(second).not.toBe(first)
    manualSeed(5)
    const together = await Promise.all([
      noGrad(() => model.forward(x)),
      noGrad(() => model.forward(x)),
    ])
    expect(together.map((loss) => loss.item())).toEqual([first, second])
    manualSeed(5)
    expect([model.forwardSync(x).item(), model.forwardSync(x).item()]).toEqual([first, second])
  })

  it('do not depend on when initial values are drawn', async () => {
    manualSeed(9)
    const a = smallModel()
    rand([2])
    const early = a.parameters().map(numbers)
    manualSeed(9)
    const b = smallModel()
    rand([2])
    await b.forward(ids(1, 9))
    expect(b.parameters().map(numbers)).toEqual(early)
  })

  it('are the same in any order of first use', () => {
    manualSeed(9)
    const forwards = smallModel()
    const want = forwards.parameters().map(numbers)
    manualSeed(9)
    const backwards = smallModel()
    const names = [...backwards.stateDict().keys()]
    expect(names.length).toBeGreaterThan(0)
    const got = backwards.parameters().toReversed().map(numbers).toReversed()
    expect(got).toEqual(want)
  })
})

describe('dropout', () => {
  it('is off in eval mode and on in training mode', () => {
    const model = smallModel({ ff_dropout: 0.5 })
    const x = ids(2, 9)
    const loss = () => noGrad(() => model.forwardSync(x)).item()
    expect(loss()).not.toBe(loss())
    model.eval()
    expect(loss()).toBe(loss())
  })

  it('keeps the mean of the embeddings', () => {
    manualSeed(3)
    const model = smallModel({ ff_dropout: 0.2 })
    const x = ids(2, 9)
    model.eval()
    const want = model.forwardSync(x).item() as number
    model.train()
    const losses = Array.from({ length: 200 }, () => model.forwardSync(x).item() as number)
    const mean = losses.reduce((a, b) => a + b, 0) / losses.length
    expect(Math.abs(mean - want)).toBeLessThan(0.1 * want)
  })
})
