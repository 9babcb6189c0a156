/** What calls take in place of a tensor, where it is known what stands in it. */
import type { IdArray, MaskArray, VectorArray } from './arrays.js'
import type { Tensor } from './tensor.js'

/**
 * Token ids, targets, positions or indices: an `i64` tensor, whole numbers in nested arrays, or a
 * typed array of whole numbers.
 */
export type Ids = Tensor | IdArray

/**
 * A mask: a `bool` tensor, or booleans (also 0 and 1) in nested arrays or a typed array of whole
 * numbers.
 */
export type Mask = Tensor | MaskArray

/** Vectors: a tensor, numbers in nested arrays, or a typed array of floating-point numbers. */
export type Vectors = Tensor | VectorArray
