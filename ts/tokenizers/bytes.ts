import { checkIterable, isText, refuse } from '../checks.js'
import type { Tokenizer } from './tokenizer.js'

/**
 * The bytes of UTF-8 as ids, from 0 to 255.
 *
 * @example
 * const tokenizer = new ByteTokenizer()
 * tokenizer.encode('Call') // [67, 97, 108, 108]
 */
export class ByteTokenizer implements Tokenizer {
  readonly vocabSize = 256

  /** @throws XTransformersError (`invalid_argument`) where UTF-8 cannot hold the text */
  encode(text: string): number[] {
    if (!isText(text)) throw refuse('the text', 'a string without lone surrogates', text)
    return Array.from(new TextEncoder().encode(text))
  }

  /** @throws XTransformersError (`invalid_argument`) for an id that is no byte */
  decode(ids: Iterable<number>): string {
    const bytes = checkIterable(ids, 'ids', 'whole numbers').map(checkByte)
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes))
  }
}

function checkByte(id: unknown, i: number): number {
  if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < 256) return id as number
  throw refuse(`ids[${i}]`, 'a whole number from 0 to 255', id)
}
