import { refuse } from '../checks.js'

/** Between `start` and `end`, after the given share of the way, from 0 to 1. */
export type Taper = (start: number, end: number, share: number) => number

/** Whole numbers stay such: options that round down would lose one. */
function between(start: number, end: number, share: number): number {
  const value = start + (end - start) * share
  const whole = Math.round(value)
  return Math.abs(value - whole) < 1e-9 ? whole : value
}

const TAPERS: Readonly<Record<'cosine' | 'linear', Taper>> = {
  cosine: (start, end, share) => between(start, end, (1 - Math.cos(Math.PI * share)) / 2),
  linear: between,
}

function checkNumber(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw refuse(what, 'a number', value)
}

/**
 * The values of an option of `attn_` or `ff_` for each of `depth` blocks, from `start` in the first
 * one to `end` in the last one. Round them where the option takes whole numbers.
 *
 * @throws XTransformersError (`invalid_argument`)
 * @example
 * // wide feed-forwards at first, narrow ones at the end
 * const layers = new Decoder({ dim: 512, depth: 6, ff_mult: layerSchedule(6, 2, 6) })
 */
export function layerSchedule(
  start: number,
  end: number,
  depth: number,
  schedule: 'cosine' | 'linear' | Taper = 'cosine',
): number[] {
  checkNumber(start, 'the start of layerSchedule()')
  checkNumber(end, 'the end of layerSchedule()')
  if (!Number.isSafeInteger(depth) || depth < 1 || depth > 100_000)
    throw refuse('the depth of layerSchedule()', 'a whole number from 1 to 100000', depth)
  const named = typeof schedule === 'string' && Object.hasOwn(TAPERS, schedule)
  const taper = named ? TAPERS[schedule] : schedule
  if (typeof taper !== 'function')
    throw refuse('the schedule of layerSchedule()', "'cosine', 'linear' or a function", schedule)
  return Array.from({ length: depth }, (_, i) =>
    checkNumber(taper(start, end, depth === 1 ? 0 : i / (depth - 1)), 'what the schedule gives'),
  )
}
