/**
 * Models of Hugging Face as models of this package, and back.
 *
 * @packageDocumentation
 */
export type { Heads, HuggingFaceModel } from './build.js'
export type { HuggingFaceSource } from './files.js'
export { type FromHuggingFace, type FromHuggingFaceOptions, fromHuggingFace } from './from.js'
export type { SpecialTokens } from './generation.js'
export { MaskedHead, type MaskedHeadOptions, Pooler } from './heads.js'
export {
  type AlbertPresetOptions,
  type DecoderPresetOptions,
  type PresetOptions,
  presets,
  type TokenPresetOptions,
  type VisionPresetOptions,
} from './presets.js'
export { type FolderHandle, type ToHuggingFaceOptions, toHuggingFace } from './to.js'
