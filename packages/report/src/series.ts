/** Columns of values to be drawn. */

export type Values = readonly (number | null)[]

/** Values over x. */
export interface Points {
  x: readonly number[]
  y: Values
}

/**
 * A running average, of which each value forgets the share `1 - smoothing` of the past; the first
 * ones count as if there was nothing before them.
 */
export function smoothed(values: Values, smoothing: number): Values {
  if (smoothing === 0) return values
  let [average, weight] = [0, 0]
  return values.map((value) => {
    if (value === null) return null
    average = smoothing * average + (1 - smoothing) * value
    weight = smoothing * weight + (1 - smoothing)
    return average / weight
  })
}

/** Several series over the x of all of them, as uPlot takes them: no value is null. */
export function aligned(series: readonly Points[]): [number[], ...(number | null | undefined)[][]] {
  const x = [...new Set(series.flatMap((points) => points.x))].sort((a, b) => a - b)
  const place = new Map(x.map((value, i) => [value, i]))
  const columns = series.map((points) => {
    // what is not there is passed over, and does not cut the line
    const column = new Array<number | null | undefined>(x.length)
    for (const [i, value] of points.x.entries()) column[place.get(value) as number] = points.y[i]
    return column
  })
  return [x, ...columns]
}

/** The value at the last x that is not behind `at`. */
export function valueAt({ x, y }: Points, at: number): number | null {
  let [low, high] = [0, x.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((x[middle] as number) <= at) low = middle + 1
    else high = middle
  }
  return low === 0 ? null : (y[low - 1] ?? null)
}
