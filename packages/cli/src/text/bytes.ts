/** How many bytes of text tokens are. */
import type { Tokens } from 'x-transformers/data'
import type { Tokenizer } from 'x-transformers/tokenizers'

/** So many tokens are decoded at once. */
const PIECE = 2 ** 16

/**
 * The bytes of UTF-8 that all tokens but the first add to its text.
 *
 * @throws the error of `signal`, and of the tokenizer for ids that it does not have
 */
export async function countBytes(
  tokens: Tokens,
  tokenizer: Tokenizer,
  signal?: AbortSignal,
): Promise<number> {
  const stream = tokenizer.stream()
  let bytes = 0
  for (let at = 0; at < tokens.length; at += PIECE) {
    signal?.throwIfAborted()
    const ids = await tokens.read(at, Math.min(PIECE, tokens.length - at))
    bytes += Buffer.byteLength(stream.push(Array.from(ids, Number)))
  }
  bytes += Buffer.byteLength(stream.end())
  const first = Array.from(await tokens.read(0, 1), Number)
  return bytes - Buffer.byteLength(tokenizer.decode(first))
}
