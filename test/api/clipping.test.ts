import { describe, expect, it } from 'vitest'
import {
  clipGradNorm,
  clipGradNormSync,
  clipGradValue,
  clipGradValueSync,
  type Tensor,
  tensor,
} from 'x-transformers'
import { expectClose, numbers } from './helpers.js'
import { parameter } from './optimizer-steps.js'

describe('clipGradNorm', () => {
  const pair = () => {
    const [p, q, none] = [parameter(), parameter(), parameter()]
    p.grad = tensor(new Float64Array([3, 0, 0]))
    q.grad = tensor(new Float64Array([0, 4, 0]))
    return [p, q, none] as const
  }

  it('returns the norm before, and scales gradients above the maximum', async () => {
    const [p, q, none] = pair()
    expect(await clipGradNorm([p, q, none], 1)).toBeCloseTo(5, 6)
    expectClose(numbers(p.grad as Tensor), [0.6, 0, 0])
    expectClose(numbers(q.grad as Tensor), [0, 0.8, 0])
    expect(none.grad).toBeNull()
  })

  it('does not change smaller gradients', async () => {
    const [p, q] = pair()
    expect(clipGradNormSync([p, q], 10)).toBeCloseTo(5, 6)
    expect(await clipGradNorm([p, q], Number.POSITIVE_INFINITY)).toBeCloseTo(5, 6)
    expectClose(numbers(p.grad as Tensor), [3, 0, 0])
  })

  it('requires a valid norm', async () => {
    await expect(clipGradNorm([parameter()], Number.NaN)).rejects.toThrow(/largest norm/)
    await expect(clipGradNorm([{} as Tensor], 1)).rejects.toThrow(/parameter 0/)
  })
})

describe('clipGradValue', () => {
  it('limits each element, and what was scaled before', async () => {
    const [p, q] = [parameter(), parameter()]
    p.grad = tensor(new Float64Array([3, -0.5, -4]))
    await clipGradValue([p, q], 1)
    expect(numbers(p.grad as Tensor)).toEqual([1, -0.5, -1])
    expect(q.grad).toBeNull()
    p.grad = tensor(new Float64Array([3, Number.NaN, -4]))
    clipGradValueSync(new Set([p]), 0.25)
    expect(numbers(p.grad as Tensor)).toEqual([0.25, Number.NaN, -0.25])
    p.grad = tensor(new Float64Array([3, 0, -4]))
    await clipGradNorm([p], 2.5)
    await clipGradValue([p], 1.75)
    expectClose(numbers(p.grad as Tensor), [1.5, 0, -1.75])
  })

  it('requires a valid limit', async () => {
    await expect(clipGradValue([parameter()], -1)).rejects.toThrow(/largest value/)
    expect(() => clipGradValueSync([parameter()], 'a' as never)).toThrow(/largest value/)
  })
})
