/**
 * Tokenizers: text to token ids, and back.
 *
 * @packageDocumentation
 */
export { ByteTokenizer } from './bytes.js'
export type { Tokenizer } from './tokenizer.js'
