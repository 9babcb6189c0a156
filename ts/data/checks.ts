// Checks that several parts of this folder make.
import { has, refuse } from '../checks.js'

/** Checks a whole number from `least` on. */
export function checkCount(value: unknown, what: string, least: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least) return value as number
  throw refuse(what, `a whole number from ${least}`, value)
}

/** Checks the place of an example. */
export function checkIndex(value: unknown, what: string, length: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < length)
    return value as number
  const range = length > 0 ? `a whole number from 0 to ${length - 1}` : 'absent: there are none'
  throw refuse(what, range, value)
}

/** Checks the seed of an order. */
export function checkSeedOption(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw refuse('seed', 'a whole number from 0 to 2^53 - 1', value)
}

/** Whether `for` or `for await` can walk over it; a text is one thing. */
export const isIterable = (value: unknown): value is Iterable<unknown> | AsyncIterable<unknown> =>
  typeof value !== 'string' && (has(value, Symbol.asyncIterator) || has(value, Symbol.iterator))
