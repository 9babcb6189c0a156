// What the benchmarks share.
import { Failure } from '../scripts/lib.mjs'

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The option `name` of a command, a whole number from 1, among the `values` of parseArgs; undefined where it was not given. */
export function whole(name, values) {
  if (values[name] === undefined) return undefined
  if (!/^[1-9]\d*$/.test(values[name])) throw new Failure(`--${name} takes a whole number from 1.`)
  return Number(values[name])
}
