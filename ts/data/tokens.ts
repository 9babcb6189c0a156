import { XTransformersError } from '../errors.js'
import { checkCount } from './checks.js'
import { arrayFor, checkRow, copyIds, greatestId, type IdRow, type TokenIds } from './ids.js'

/** A long row of token ids, such as all texts of a corpus, that is read in pieces. */
export interface Tokens {
  /** The number of ids. */
  readonly length: number
  /**
   * `length` ids from `offset` on. They are the reader's alone or part of the whole: they must not
   * be changed.
   */
  read(offset: number, length: number): TokenIds | Promise<TokenIds>
}

/** Checks that the ids from `offset` on are there. */
export function checkRange(offset: number, length: number, size: number): void {
  checkCount(offset, 'offset', 0)
  checkCount(length, 'length', 0)
  if (offset + length <= size) return
  const message = `there are ${size} ids, and none from ${size} on: ${length} from ${offset} on cannot be read`
  throw new XTransformersError('invalid_argument', message)
}

/**
 * Token ids in memory, each in one byte, two or four, as the greatest of them needs. An array that
 * has that type already is taken as it is: it must not be changed any more.
 *
 * @example
 * const tokens = new TokenArray(tokenizer.encode(text))
 * tokens.read(10, 4) // a Uint8Array with 4 ids
 */
export class TokenArray implements Tokens {
  /** All ids. */
  readonly ids: TokenIds

  /**
   * @param ids whole numbers from 0 to 2^32 - 1
   * @throws XTransformersError (`invalid_argument`) where something else is among them
   */
  constructor(ids: IdRow) {
    const row = checkRow(ids, 'ids')
    const Type = arrayFor(greatestId(row, 'ids'))
    if (row instanceof Type) this.ids = row
    else {
      this.ids = new Type(row.length)
      copyIds(row, this.ids, 0)
    }
  }

  get length(): number {
    return this.ids.length
  }

  /** @throws XTransformersError (`invalid_argument`) where there are not so many ids */
  read(offset: number, length: number): TokenIds {
    checkRange(offset, length, this.length)
    return this.ids.subarray(offset, offset + length)
  }
}
