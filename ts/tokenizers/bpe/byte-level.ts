/**
 * How vocabularies of bytes are written: each byte is one visible character. The printable ones of
 * Latin-1 stand for themselves, and the others for the characters from U+0100 on, in their order.
 */

const isPrintable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae

let others = 0
const codes = Array.from({ length: 256 }, (_, byte) =>
  isPrintable(byte) ? byte : 0x100 + others++,
)

/** The character of each byte. */
export const BYTE_CHARACTERS: readonly string[] = codes.map((code) => String.fromCharCode(code))

const BYTES: ReadonlyMap<number, number> = new Map(codes.map((code, byte) => [code, byte]))

/** Bytes as the vocabulary writes them. */
export const spell = (bytes: Iterable<number>): string =>
  Array.from(bytes, (byte) => BYTE_CHARACTERS[byte]).join('')

/** The bytes that a token stands for; null where it is not written in this way. */
export function bytesOfToken(token: string): Uint8Array | null {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = BYTES.get(token.charCodeAt(i))
    if (byte === undefined) return null
    bytes[i] = byte
  }
  return bytes
}
