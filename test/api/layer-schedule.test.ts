import { describe, expect, it } from 'vitest'
import { Decoder, layerSchedule } from 'x-transformers'

describe('layerSchedule', () => {
  it('goes from the start to the end', () => {
    expect(layerSchedule(1, 3, 5, 'linear')).toEqual([1, 1.5, 2, 2.5, 3])
    const half = Math.SQRT1_2
    const want = [0, (1 - half) / 2, 0.5, (1 + half) / 2, 1]
    for (const [i, value] of layerSchedule(0, 1, 5).entries())
      expect(value).toBeCloseTo(want[i] as number, 12)
    expect(layerSchedule(4, 2, 1)).toEqual([4])
    expect(layerSchedule(1, 7, 3)).toEqual([1, 4, 7])
    const whole = (start: number, end: number, share: number) =>
      Math.round(start + (end - start) * share ** 2)
    expect(layerSchedule(1, 9, 3, whole)).toEqual([1, 3, 9])
  })

  it('gives the values of options for each block', () => {
    const model = new Decoder({ dim: 8, depth: 3, heads: 2, ff_mult: layerSchedule(4, 1, 3) })
    const width = (block: number) =>
      model.stateDict().get(`layers.${2 * block + 1}.1.ff.0.0.weight`)?.shape[0]
    expect([0, 1, 2].map(width)).toEqual([32, 20, 8])
  })

  it('says what is wrong', () => {
    expect(() => layerSchedule(1, 2, 0)).toThrow(
      /depth of layerSchedule\(\) must be a whole number/,
    )
    expect(() => layerSchedule(1, 2, 1e9)).toThrow(/from 1 to 100000/)
    expect(() => layerSchedule(Number.NaN, 2, 3)).toThrow(/the start of layerSchedule\(\)/)
    expect(() => layerSchedule(1, 2, 3, 'sine' as never)).toThrow(
      /'cosine', 'linear' or a function/,
    )
    expect(() => layerSchedule(1, 2, 3, 'toString' as never)).toThrow(/'cosine', 'linear'/)
    expect(() => layerSchedule(1, 2, 3, () => Number.NaN)).toThrow(/what the schedule gives/)
  })
})
