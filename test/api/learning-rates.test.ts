import { describe, expect, it } from 'vitest'
import {
  constant,
  cosineWarmup,
  inverseSqrt,
  linearDecay,
  linearWarmup,
  warmupStableDecay,
} from 'x-transformers'

describe('a schedule', () => {
  it('is constant', () => expect(constant({ lr: 0.1 })(1000)).toBe(0.1))

  it('warms up linearly', () => {
    const rate = linearWarmup({ lr: 1, warmup_steps: 4 })
    expect([0, 1, 2, 3, 4, 100].map(rate)).toEqual([0.25, 0.5, 0.75, 1, 1, 1])
  })

  it('decays along a cosine', () => {
    const rate = cosineWarmup({ lr: 1, warmup_steps: 2, total_steps: 10, min_lr: 0.1 })
    expect([0, 1, 2].map(rate)).toEqual([0.5, 1, 1])
    expect(rate(6)).toBeCloseTo(0.55, 12)
    expect(rate(4)).toBeCloseTo(0.1 + (0.9 * (1 + Math.cos(Math.PI / 4))) / 2, 12)
    expect(rate(10)).toBeCloseTo(0.1, 12)
    expect(rate(99)).toBeCloseTo(0.1, 12)
    expect(cosineWarmup({ lr: 1, warmup_steps: 0, total_steps: 0, min_lr: 0.2 })(0)).toBe(0.2)
    expect(cosineWarmup({ lr: 1, warmup_steps: 4, total_steps: 4 })(4)).toBe(0)
  })

  it('decays evenly', () => {
    const rate = linearDecay({ lr: 1, warmup_steps: 2, total_steps: 10, min_lr: 0.2 })
    expect([0, 1, 2].map(rate)).toEqual([0.5, 1, 1])
    expect([4, 6, 9].map(rate)).toEqual([0.8, 0.6, 0.3].map((x) => expect.closeTo(x, 12)))
    expect([10, 99].map(rate)).toEqual([0.2, 0.2])
    expect(linearDecay({ lr: 1, warmup_steps: 0, total_steps: 4 })(1)).toBe(0.75)
  })

  it('decays with the inverse square root of the step', () => {
    const rate = inverseSqrt({ lr: 1, warmup_steps: 4 })
    expect([0, 3, 4, 16, 100].map(rate)).toEqual([0.25, 1, 1, 0.5, 0.2])
    expect([0, 1, 4].map(inverseSqrt({ lr: 1, warmup_steps: 0 }))).toEqual([1, 1, 0.5])
  })

  it('falls over decay_steps by decay, and stays constant before', () => {
    const options = { lr: 1, warmup_steps: 2, decay_steps: 4, total_steps: 10, min_lr: 0.2 }
    const rates = (decay?: 'linear' | 'cosine' | 'sqrt') =>
      [0, 1, 2, 6, 7, 8, 10, 11].map(warmupStableDecay({ ...options, decay }))
    const want = (...between: number[]) =>
      [0.5, 1, 1, 1, ...between, 0.2, 0.2].map((x) => expect.closeTo(x, 12))
    expect(rates()).toEqual(want(0.8, 0.6))
    expect(rates('cosine')).toEqual(want(0.2 + 0.4 * (1 + Math.cos(Math.PI / 4)), 0.6))
    expect(rates('sqrt')).toEqual(want(0.2 + 0.8 * 0.5, 0.2 + 0.8 * (1 - Math.sqrt(0.5))))
    // a decay that is longer than what is left begins after the warm-up
    const long = warmupStableDecay({ ...options, decay_steps: 99 })
    expect([1, 2, 6].map(long)).toEqual([1, 1, expect.closeTo(0.6, 12)])
    expect(() => warmupStableDecay({ ...options, decay: 'exp' as never })).toThrow(/decay/)
    expect(() => warmupStableDecay({ ...options, min_lr: 2 })).toThrow(/min_lr: must not be more/)
  })

  it('stays within its range', () => {
    expect(linearWarmup({ lr: 1, warmup_steps: 2.5 })(2)).toBe(1)
    expect(linearWarmup({ lr: 1, warmup_steps: 10 })(9.5)).toBe(1)
    expect(cosineWarmup({ lr: 1, warmup_steps: 2, total_steps: 9 })(1.5)).toBe(1)
    const cutOff = cosineWarmup({ lr: 1, warmup_steps: 10, total_steps: 5 })
    expect([0, 4, 5, 9, 10, 11].map(cutOff)).toEqual([0.1, 0.5, 0, 0, 0, 0])
    expect(() => cosineWarmup({ lr: 1, warmup_steps: 1, total_steps: 5, min_lr: 2 })).toThrow(
      /min_lr: must not be more/,
    )
  })

  it('reports missing options', () => {
    expect(() => cosineWarmup({ lr: 1, warmup: 2, total_steps: 3 } as never)).toThrow(
      /warmup_steps[\s\S]*warmup_steps: is required/,
    )
  })
})
