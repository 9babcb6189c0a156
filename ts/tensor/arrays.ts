/** Arrays in place of tensors, where it is known what stands in them: token ids, masks, vectors. */

import { describeValue, tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { DType } from '../native/native.js'
import { type PackedData, pack, type TensorData } from './data.js'
import { MAX_AXES } from './dtype.js'

/** Values as arrays, nested as the axes are. */
export type NestedArray<T> = readonly (T | NestedArray<T>)[]

/** A typed array of whole numbers: one axis. */
export type WholeArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array

/** Token ids without a tensor. */
export type IdArray = NestedArray<number | bigint> | WholeArray

/** A mask without a tensor. */
export type MaskArray = NestedArray<boolean | number> | WholeArray

/** Vectors without a tensor. */
export type VectorArray = NestedArray<number> | Float32Array | Float64Array

/** What stands in an argument. */
export type ArgumentKind = 'ids' | 'mask' | 'vectors'

const DTYPE: Record<ArgumentKind, DType> = { ids: 'i64', mask: 'bool', vectors: 'f32' }

/** Whether it is an array that may stand for a tensor. */
export const isData = (value: unknown): boolean => Array.isArray(value) || ArrayBuffer.isView(value)

/**
 * An array as the native side takes it.
 *
 * @throws XTransformersError (`invalid_tensor`, `invalid_argument`) where it is not rectangular, or
 *   of other values
 */
export function packArgument(value: object, kind: ArgumentKind, name: string): PackedData {
  check(value, kind, name)
  try {
    return pack(value as TensorData, DTYPE[kind])
  } catch (error) {
    if (!(error instanceof XTransformersError)) throw error
    throw new XTransformersError(error.code, `${name}: ${error.message}`)
  }
}

function check(value: object, kind: ArgumentKind, name: string): void {
  const wrong = (message: string) =>
    new XTransformersError('invalid_argument', `${name}: ${message}`)
  if (ArrayBuffer.isView(value)) {
    const type = tagOf(value)
    if (type === 'DataView') throw wrong('a DataView is no array of numbers')
    if (kind !== 'vectors' && type.startsWith('Float')) {
      throw wrong(
        `${kind === 'ids' ? 'ids are whole numbers' : 'a mask is of booleans'}, got a ${type}`,
      )
    }
    return
  }
  const [path, first] = firstOf(value)
  const place = `${name}${path}`
  if (typeof first === 'object' && first !== null) {
    throw new XTransformersError(
      'invalid_argument',
      `${place} is ${describeValue(first)}: give one tensor (\`stack\` makes one of several), or numbers in nested arrays`,
    )
  }
  if (kind === 'ids' && typeof first === 'boolean')
    throw wrong('ids are whole numbers, got booleans')
}

/** The first value in nested arrays, and where it stands; an array may contain itself. */
function firstOf(value: unknown): [path: string, first: unknown] {
  let path = ''
  let first = value
  for (let depth = 0; Array.isArray(first) && first.length > 0 && depth <= MAX_AXES; depth++) {
    first = first[0]
    path += '[0]'
  }
  return Array.isArray(first) ? [path, undefined] : [path, first]
}
