/**
 * Data for training: datasets, and loaders that make batches of them.
 *
 * @packageDocumentation
 */
export {
  collateIds,
  collatePacked,
  type PackedBatch,
  type PaddedBatch,
  type PaddedOptions,
  padded,
} from './collate.js'
export {
  ArrayDataset,
  type Dataset,
  type DatasetLike,
  mapped,
  type RandomSplitOptions,
  randomSplit,
  subset,
  type Turn,
} from './dataset.js'
export { documents } from './documents.js'
export type { IdRow, TokenDType, TokenIds } from './ids.js'
export {
  collateImages,
  type ImageBatch,
  type ImageExample,
  type ImagesOptions,
  images,
} from './images.js'
export { type JsonlOptions, jsonl, textLines } from './lines.js'
export { DataLoader, type DataLoaderState } from './loader.js'
export type { DataLoaderOptions, Sampler, Shuffling } from './loader-options.js'
export { type PackedOptions, type PackedRow, packed } from './packed.js'
export { fromPixels, type NormalizeOptions, type PixelsOptions } from './pixels.js'
export type { Stream, StreamLike } from './stream.js'
export {
  TokenFile,
  type TokenFileOptions,
  type WriteTokensOptions,
  writeTokens,
} from './token-file.js'
export { TokenArray, type Tokens } from './tokens.js'
export {
  type RandomWindowsOptions,
  randomWindows,
  type WindowsOptions,
  windows,
} from './windows.js'
