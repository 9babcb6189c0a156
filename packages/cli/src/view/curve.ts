import { blue, plot, yellow } from 'asciichart'

/** A value for a step. */
export type Point = readonly [step: number, value: number]

/** The losses of a run, in few numbers however long it is: neighbours are merged when it grows. */
export class Curve {
  readonly #most: number
  /** Means of `#width` steps each; the last one may have fewer. */
  #means: { sum: number; count: number }[] = []
  #width = 1

  constructor(most = 400) {
    this.#most = most
  }

  push(value: number): void {
    const last = this.#means.at(-1)
    if (last && last.count < this.#width) {
      last.sum += value
      last.count++
      return
    }
    this.#means.push({ sum: value, count: 1 })
    if (this.#means.length <= this.#most) return
    const pairs = Array.from({ length: Math.ceil(this.#means.length / 2) }, (_, i) =>
      this.#means.slice(2 * i, 2 * i + 2),
    )
    this.#means = pairs.map((pair) => ({
      sum: pair.reduce((all, { sum }) => all + sum, 0),
      count: pair.reduce((all, { count }) => all + count, 0),
    }))
    this.#width *= 2
  }

  get values(): number[] {
    return this.#means.map(({ sum, count }) => sum / count)
  }
}

/** At most `width` values: means of neighbours. */
export function shrink(values: readonly number[], width: number): number[] {
  const count = Math.min(width, values.length)
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [i, i + 1].map((at) => Math.floor((at * values.length) / count))
    const part = values.slice(from, to)
    return part.reduce((a, b) => a + b, 0) / part.length
  })
}

/** Steps from one to another. */
export type Range = readonly [first: number, last: number]

/** `count` values on straight lines between the points, over a range of steps. */
export function stretch(points: readonly Point[], count: number, [first, last]: Range): number[] {
  return Array.from({ length: count }, (_, i) => {
    const step = first + (i / Math.max(1, count - 1)) * (last - first)
    const after = points.findIndex(([at]) => at >= step)
    const [x1, y1] = points.at(after) as Point
    const [x0, y0] = points[after - 1] ?? [x1, y1]
    return after <= 0 || x1 === x0 ? y1 : y0 + ((y1 - y0) * (step - x0)) / (x1 - x0)
  })
}

export interface Drawing {
  width: number
  height: number
  /** Whether colours tell the curves apart; without them there is the first alone. */
  colours: boolean
}

/** The losses as a curve; nothing where there are fewer than two. */
export function drawLosses(
  losses: readonly number[],
  validations: readonly Point[],
  range: Range,
  { width, height, colours }: Drawing,
): string {
  const finite = losses.filter(Number.isFinite)
  if (finite.length < 2) return ''
  // the axis takes the rest
  const training = shrink(finite, Math.max(2, width - 14))
  const both = colours && validations.length > 0
  const series = both ? [training, stretch(validations, training.length, range)] : [training]
  return plot(series, { height, colors: colours ? [blue, yellow] : [] })
}
