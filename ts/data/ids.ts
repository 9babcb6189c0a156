/** Rows of token ids, as arrays. */
import { describeValue, tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { WholeArray } from '../tensor/arrays.js'
import { presentBytes } from '../tensor/data.js'

/** Token ids in a row, of any length: whole numbers. */
export type IdRow = readonly number[] | WholeArray

/** Token ids as they are kept, in the fewest bytes that hold them. */
export type TokenIds = Uint8Array | Uint16Array | Uint32Array

/** The type of an id in a file: a whole number without sign, of 16 or 32 bits. */
export type TokenDType = 'u16' | 'u32'

/** Largest id that a file or a {@link TokenIds} holds. */
export const MAX_ID = 2 ** 32 - 1

const TYPED = /^(Big)?U?[iI]nt(8|16|32|64)(Clamped)?Array$/

/**
 * Checks that it is an array of whole numbers, as far as its kind tells: the values of a typed
 * array are.
 */
export function checkRow(value: unknown, what: string): IdRow {
  if (Array.isArray(value)) return value as readonly number[]
  if (ArrayBuffer.isView(value) && TYPED.test(tagOf(value))) {
    // its memory may be gone
    presentBytes(value)
    return value as WholeArray
  }
  throw new XTransformersError(
    'invalid_argument',
    `${what} must be token ids, an array or a typed array of whole numbers, got ${describeValue(value)}`,
  )
}

/** An error about a value that is no id. */
export function wrongId(value: unknown, what: string, max: number): XTransformersError {
  return new XTransformersError(
    'invalid_argument',
    `${what} must be a whole number from 0 to ${max}, got ${describeValue(value)}`,
  )
}

/** The greatest id of a row, each of which must be from 0 to `max`; -1 where there is none. */
export function greatestId(row: IdRow, what: string, max = MAX_ID): number {
  let greatest = -1
  for (let i = 0; i < row.length; i++) {
    const value = row[i]
    const id = typeof value === 'bigint' ? Number(value) : (value as number)
    if (!Number.isInteger(id) || id < 0 || id > max) throw wrongId(value, `${what}[${i}]`, max)
    if (id > greatest) greatest = id
  }
  return greatest
}

/** The array type with the fewest bytes that holds ids up to `greatest`. */
export function arrayFor(greatest: number): { new (length: number): TokenIds } {
  if (greatest < 2 ** 8) return Uint8Array
  return greatest < 2 ** 16 ? Uint16Array : Uint32Array
}

/** Copies ids, which were checked, into an array from a place on. */
export function copyIds(row: IdRow, into: TokenIds, at: number): void {
  if (typeof row[0] !== 'bigint') into.set(row as ArrayLike<number>, at)
  else for (let i = 0; i < row.length; i++) into[at + i] = Number(row[i])
}
