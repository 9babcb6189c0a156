import type { Stored } from './safetensors.js'

/**
 * The comparison of one tensor. It passes if `ratio`, the error divided by the tolerated one, is at
 * most 1.
 */
export interface Comparison {
  name: string
  ratio: number
  /** Why `ratio` is infinite. */
  reason?: string
}

/** Called with every tensor that a fixture computes, by its name in the recording. */
export type Observer = (name: string, value: Stored) => void

const unequal = (name: string, reason: string): Comparison => ({
  name,
  ratio: Number.POSITIVE_INFINITY,
  reason,
})

function firstDifference(got: ArrayLike<unknown>, want: ArrayLike<unknown>): number {
  for (let i = 0; i < want.length; i++) if (got[i] !== want[i]) return i
  return -1
}

/**
 * `max|got - want| / (tolerance * max(max|want|, floor))`; NaN equals nothing, an infinity only
 * itself.
 */
function floats(
  name: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  tolerance: number,
  floor: number,
): Comparison {
  let error = 0
  let scale = floor
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i] as number, want[i] as number]
    if (Number.isFinite(a) && Number.isFinite(b)) {
      error = Math.max(error, Math.abs(a - b))
      scale = Math.max(scale, Math.abs(b))
    } else if (a !== b) {
      return unequal(name, `is ${a} at index ${i}, expected ${b}`)
    }
  }
  return { name, ratio: error === 0 ? 0 : error / (tolerance * scale) }
}

/** Compares with the recorded tensor: floating point within the tolerance, integers exactly. */
export function compare(
  name: string,
  got: Stored,
  want: Stored,
  tolerance: number,
  floor: number,
): Comparison {
  if (got.shape.join() !== want.shape.join()) {
    return unequal(name, `has the shape [${got.shape}], expected [${want.shape}]`)
  }
  if (got.data.constructor !== want.data.constructor) {
    return unequal(
      name,
      `is a ${got.data.constructor.name}, expected ${want.data.constructor.name}`,
    )
  }
  if (want.data instanceof Float32Array || want.data instanceof Float64Array) {
    return floats(name, got.data as Float32Array, want.data, tolerance, floor)
  }
  const at = firstDifference(got.data, want.data)
  return at < 0
    ? { name, ratio: 0 }
    : unequal(name, `is ${got.data[at]} at index ${at}, expected ${want.data[at]}`)
}

/** As {@link compare}, for a list of numbers. */
export function compareNumbers(
  name: string,
  got: number[],
  want: number[],
  tolerance: number,
  floor = 0.01,
): Comparison {
  const stored = (values: number[]): Stored => ({
    shape: [values.length],
    data: Float64Array.from(values),
  })
  return compare(name, stored(got), stored(want), tolerance, floor)
}

/** Reports missing and unexpected names. */
export function compareNames(
  what: string,
  got: Iterable<string>,
  want: Iterable<string>,
): Comparison {
  const [a, b] = [new Set(got), new Set(want)]
  const missing = [...b].filter((name) => !a.has(name))
  const extra = [...a].filter((name) => !b.has(name))
  if (!missing.length && !extra.length) return { name: what, ratio: 0 }
  const list = (label: string, names: string[]) =>
    names.length ? [`${label} ${names.join(', ')}`] : []
  return unequal(what, [...list('missing:', missing), ...list('not expected:', extra)].join('; '))
}
