import { XTransformersError } from './errors.js'
import type { DType, NativeTensor } from './native.js'
import type { Nested } from './tensor.js'

/** What `data()` gives. */
export type TypedArray = Float32Array | Float64Array | BigInt64Array | Uint8Array

/** Values that a tensor can be made from. Numbers of `i64` must be whole, those of `u8` from 0 to 255, those of `bool` 0 or 1. */
export type TensorData =
  | number
  | bigint
  | boolean
  | readonly TensorData[]
  | TypedArray
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array

type Scalar = number | bigint | boolean

export const DTYPES: readonly DType[] = ['f32', 'f64', 'f16', 'bf16', 'i64', 'u8', 'bool']

const FLOATS: readonly DType[] = ['f32', 'f64', 'f16', 'bf16']

export const isFloat = (dtype: DType) => FLOATS.includes(dtype)

/** A value in words, for messages. Not named `describe` here: in the one file for Node the public function keeps that name. */
function inWords(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'an array'
  if (typeof value !== 'object') return String(value)
  const name = value.constructor?.name
  return name && name !== 'Object' ? `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}` : 'an object'
}

export { inWords as describe }

/** The values of a native tensor; their bytes may stand anywhere in a larger buffer. */
export function elements(tensor: NativeTensor): TypedArray {
  const bytes = tensor.data()
  const dtype = tensor.dtype()
  if (dtype === 'u8' || dtype === 'bool') return bytes
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  const { buffer, byteOffset, byteLength } = aligned
  if (dtype === 'f64') return new Float64Array(buffer, byteOffset, byteLength / 8)
  if (dtype === 'i64') return new BigInt64Array(buffer, byteOffset, byteLength / 8)
  return new Float32Array(buffer, byteOffset, byteLength / 4)
}

/** Values as nested arrays. */
export function nested(data: TypedArray, shape: readonly number[], dtype: DType): Nested {
  let at = 0
  const build = (axis: number): Nested => {
    if (axis === shape.length) {
      const value = Number(data[at++])
      return dtype === 'bool' ? value !== 0 : value
    }
    return Array.from({ length: shape[axis] as number }, () => build(axis + 1))
  }
  return build(0)
}

/** Bytes for the native side, what they are, and the shape that the data has by itself. */
export interface Packed {
  bytes: Uint8Array
  source: DType
  dtype: DType
  shape: number[]
}

/** Makes `data` ready for the native side. `dtype` undefined: as the data suggests, numbers as f32. */
export function pack(data: TensorData, dtype: DType | undefined): Packed {
  if (ArrayBuffer.isView(data)) return packTyped(data as Exclude<TensorData, Scalar | readonly TensorData[]>, dtype)
  const shape: number[] = []
  const flat: Scalar[] = []
  flatten(data, 0, '', shape, flat)
  const suggested = typeof flat[0] === 'boolean' ? 'bool' : typeof flat[0] === 'bigint' ? 'i64' : 'f32'
  return { ...packFlat(flat, dtype ?? suggested), shape }
}

type Typed = Extract<TensorData, ArrayBufferView>

function natural(data: Typed): DType {
  if (data instanceof Float32Array) return 'f32'
  if (data instanceof Float64Array) return 'f64'
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return 'u8'
  return 'i64'
}

function packTyped(data: Typed, wanted: DType | undefined): Packed {
  const source = natural(data)
  const dtype = wanted ?? source
  const known = data instanceof BigInt64Array || !(source === 'i64')
  // the native side converts; what could lose something goes element by element, with a look at each
  if (known && (dtype === source || isFloat(dtype))) {
    return { bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), source, dtype, shape: [data.length] }
  }
  return { ...packFlat(Array.from<Scalar>(data as ArrayLike<number>), dtype), shape: [data.length] }
}

function packFlat(flat: Scalar[], dtype: DType): Omit<Packed, 'shape'> {
  const view = (array: ArrayBufferView, source: DType) => ({
    bytes: new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    source,
    dtype,
  })
  if (dtype === 'f64') return view(Float64Array.from(flat, Number), 'f64')
  if (isFloat(dtype)) return view(Float32Array.from(flat, Number), 'f32')
  if (dtype === 'i64') return view(BigInt64Array.from(flat, wholeNumber), 'i64')
  const max = dtype === 'bool' ? 1 : 255
  const byte = (value: Scalar) => {
    const number = Number(value)
    if (Number.isInteger(number) && number >= 0 && number <= max) return number
    throw new XTransformersError(
      'invalid_argument',
      `a ${dtype} tensor holds whole numbers from 0 to ${max}, got ${String(value)}`,
    )
  }
  return view(Uint8Array.from(flat, byte), dtype)
}

function wholeNumber(value: Scalar): bigint {
  if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) return value
  if (typeof value !== 'bigint' && Number.isSafeInteger(Number(value))) return BigInt(value)
  throw new XTransformersError('invalid_argument', `an i64 tensor holds whole numbers, got ${String(value)}`)
}

/** Notes the values of nested arrays, which must be rectangular. */
function flatten(data: unknown, depth: number, path: string, shape: number[], flat: Scalar[]): void {
  const list = Array.isArray(data) ? data : null
  const place = path === '' ? 'data' : `data${path}`
  // the first way down to a value sets the shape
  if (list && flat.length === 0 && shape.length === depth) shape.push(list.length)
  if (!list) {
    if (typeof data !== 'number' && typeof data !== 'bigint' && typeof data !== 'boolean') {
      throw new XTransformersError(
        'invalid_argument',
        `${place} must be a number, a boolean or an array, got ${inWords(data)}`,
      )
    }
    if (depth !== shape.length) throw ragged(place, `an array of ${shape[depth]}`, 'a number')
    flat.push(data)
    return
  }
  if (depth >= shape.length) throw ragged(place, 'a number', `an array of ${list.length}`)
  if (list.length !== shape[depth]) throw ragged(place, `an array of ${shape[depth]}`, `an array of ${list.length}`)
  for (let i = 0; i < list.length; i++) flatten(list[i], depth + 1, `${path}[${i}]`, shape, flat)
}

function ragged(place: string, want: string, got: string): XTransformersError {
  return new XTransformersError(
    'invalid_tensor',
    `nested arrays must be rectangular: ${place} should be ${want} like the others, and is ${got}`,
  )
}
