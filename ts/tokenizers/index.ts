/**
 * Tokenizers: text to token ids, and back.
 *
 * @packageDocumentation
 */
export type { Texts } from './bpe/corpus.js'
export {
  BPETokenizer,
  type BPETokenizerOptions,
  type FromGPT2Options,
  type GPT2Files,
} from './bpe/tokenizer.js'
export type { TokenizerJSON } from './bpe/tokenizer-json.js'
export { type TrainBPEOptions, type TrainBPEProgress, trainBPE } from './bpe/train.js'
export { ByteTokenizer } from './bytes.js'
export {
  CharacterTokenizer,
  type CharacterTokenizerOfOptions,
  type CharacterTokenizerOptions,
} from './characters.js'
export type { ChatMessage, ChatTemplateOptions } from './chat.js'
export { loadTokenizer, type TokenizerFiles, tokenizerFrom } from './load.js'
export { type PretrainedFiles, PretrainedTokenizer } from './pretrained.js'
export type {
  DecodeOptions,
  EncodeOptions,
  SpecialTokenOptions,
  TextStream,
  Tokenizer,
  TokenizerDescription,
} from './tokenizer.js'
