import { describe, expect, it } from 'vitest'
import { info, softmax, tensor } from 'x-transformers'

const countOf = (kernel: string, dtype: string) =>
  info().fallbacks.find((one) => one.kernel === kernel && one.dtype === dtype)?.count ?? 0

describe('info().fallbacks', () => {
  it('counts operations without an own kernel for a type', () => {
    const before = countOf('unary', 'f16')
    const x = tensor([1, 2, 4], { dtype: 'f16' })
    expect(x.sqrt().toArray()).toEqual([1, expect.closeTo(Math.SQRT2, 2), 2])
    expect(x.abs().toArray()).toEqual([1, 2, 4])
    expect(countOf('unary', 'f16')).toBe(before + 2)
    expect(info().fallbacks.every(({ device }) => device === 'cpu')).toBe(true)
  })

  it('is empty for f32 and f64', () => {
    for (const dtype of ['f32', 'f64'] as const) {
      softmax(tensor([1, 2, 4], { dtype }).exp().sqrt().mul(2))
        .sum()
        .item()
    }
    expect(info().fallbacks.filter(({ dtype }) => ['f32', 'f64'].includes(dtype))).toEqual([])
  })
})
