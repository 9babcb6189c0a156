/** Fewer points of long series, so that a page stays small. */

/** Digits that a curve can show. */
const DIGITS = 6

export const rounded = (value: number): number => Number(value.toPrecision(DIGITS))

/**
 * Which points of a series are kept, at most about `most`: the lowest and the highest of as many
 * equal parts, and the last one, so that no peak is lost.
 */
export function extremes(values: readonly number[], most: number): number[] {
  if (values.length <= most) return values.map((_, i) => i)
  const parts = Math.max(1, Math.floor(most / 2))
  const kept = new Set<number>()
  for (let part = 0; part < parts; part++) {
    const start = Math.floor((part * values.length) / parts)
    const end = Math.floor(((part + 1) * values.length) / parts)
    let [low, high] = [start, start]
    for (let i = start; i < end; i++) {
      if ((values[i] as number) < (values[low] as number)) low = i
      if ((values[i] as number) > (values[high] as number)) high = i
    }
    kept.add(low).add(high)
  }
  kept.add(values.length - 1)
  return [...kept].sort((a, b) => a - b)
}

/** Which of `length` things are kept, at most `most`: evenly, the last one among them. */
export function evenly(length: number, most: number): number[] {
  const count = Math.min(length, most)
  return Array.from({ length: count }, (_, i) => Math.ceil(((i + 1) * length) / count) - 1)
}
