import { describe, expect, it } from 'vitest'
import {
  constant,
  cosineWarmup,
  inverseSqrt,
  linearDecay,
  linearWarmup,
  type Schedule,
  warmupStableDecay,
} from 'x-transformers'
// the Rust tests look here for cases of each option of a schedule
import recorded from './schedules.json' with { type: 'json' }

interface Case {
  schedule: string
  options: object
  /** By step. */
  rates: Record<string, number>
}

const cases = recorded as unknown as Case[]

const schedules: Record<string, (options: never) => Schedule> = {
  ...{ constant, cosineWarmup, inverseSqrt, linearDecay, linearWarmup, warmupStableDecay },
}

describe('a schedule', () => {
  it.each(cases)('has the rates of its formula: $schedule, $options', (given) => {
    const rate = schedules[given.schedule]?.(given.options as never) as Schedule
    for (const [step, want] of Object.entries(given.rates))
      expect(rate(Number(step)), `step ${step}`).toBeCloseTo(want, 12)
  })

  it('ends with its warm-up where there is no more', () => {
    expect(cosineWarmup({ lr: 1, warmup_steps: 0, total_steps: 0, min_lr: 0.2 })(0)).toBe(0.2)
    expect(cosineWarmup({ lr: 1, warmup_steps: 4, total_steps: 4 })(4)).toBe(0)
    expect(linearDecay({ lr: 1, warmup_steps: 0, total_steps: 4 })(1)).toBe(0.75)
  })

  it('decays after the warm-up where the decay is longer than what is left', () => {
    const options = { lr: 1, warmup_steps: 2, decay_steps: 99, total_steps: 10, min_lr: 0.2 }
    const long = warmupStableDecay(options)
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
