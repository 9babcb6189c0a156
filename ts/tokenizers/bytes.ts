import { checkOptions } from '../checks.js'
import { checkSpecialTokens, SpecialTokens } from './special-tokens.js'
import { ByteStream, textOf } from './stream.js'
import {
  checkDecoding,
  checkIds,
  type DecodeOptions,
  type EncodeOptions,
  refuseId,
  type SpecialTokenOptions,
  type TextStream,
  type Tokenizer,
  type TokenizerDescription,
} from './tokenizer.js'

const BYTES = 256
const NOTHING = new Uint8Array(0)

/** The name that the token of a byte has: `<0x0A>`. */
const byteName = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`

/**
 * The bytes of UTF-8 as ids, from 0 to 255; special tokens have the ids after them.
 *
 * @example
 * const tokenizer = new ByteTokenizer()
 * tokenizer.encode('Call') // [67, 97, 108, 108]
 */
export class ByteTokenizer implements Tokenizer {
  readonly #special: SpecialTokens

  /** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
  constructor(options: SpecialTokenOptions = {}) {
    const { special_tokens } = checkOptions(options, 'ByteTokenizer', ['special_tokens'])
    this.#special = SpecialTokens.of(checkSpecialTokens(special_tokens), BYTES)
  }

  get vocabSize(): number {
    return BYTES + this.#special.ids.size
  }

  get specialTokens(): ReadonlyMap<string, number> {
    return this.#special.ids
  }

  /** @throws XTransformersError (`invalid_argument`) where UTF-8 cannot hold the text */
  encode(text: string, options?: EncodeOptions): number[] {
    const encoder = new TextEncoder()
    return this.#special.encode(text, options, (piece, ids) => {
      for (const byte of encoder.encode(piece)) ids.push(byte)
    })
  }

  /** @throws XTransformersError (`invalid_argument`) for an id that there is not */
  decode(ids: Iterable<number | bigint>, options?: DecodeOptions): string {
    const skip = checkDecoding(options)
    return textOf(checkIds(ids).map((id) => this.#bytesOf(id, skip)))
  }

  /** The id of a special token, or of a byte by its name, such as `<0x0A>`. */
  idOf(token: string): number | null {
    const special = this.#special.ids.get(token)
    if (special !== undefined) return special
    const digits = typeof token === 'string' ? token.match(/^<0x([0-9A-F]{2})>$/)?.[1] : undefined
    return digits === undefined ? null : Number.parseInt(digits, 16)
  }

  /** The name of a byte, such as `<0x0A>`, or a special token. */
  tokenOf(id: number): string | null {
    if (Number.isInteger(id) && id >= 0 && id < BYTES) return byteName(id)
    return this.#special.tokenOf(id)
  }

  stream(options?: DecodeOptions): TextStream {
    const skip = checkDecoding(options, 'stream()')
    return new ByteStream((id) => this.#bytesOf(id, skip))
  }

  toJSON(): TokenizerDescription {
    return { type: 'bytes', special_tokens: [...this.#special.ids.keys()] }
  }

  #bytesOf(id: number, skip: boolean): Uint8Array {
    if (id < BYTES) return Uint8Array.of(id)
    const token = this.#special.tokenOf(id)
    if (token === null) throw refuseId(id, this.vocabSize)
    return skip ? NOTHING : new TextEncoder().encode(token)
  }
}
