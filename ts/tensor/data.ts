import { describeValue, tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { jsonOf } from '../native/json.js'
import type { DType, NativeTensor } from '../native/native.js'
import { checkShape, isFloat, MAX_AXES, sizeOf } from './dtype.js'

/** What `data()` gives. */
export type TypedArray = Float32Array | Float64Array | BigInt64Array | Uint8Array

/**
 * Values that a tensor can be made from. Numbers of `i64` must be whole, those of `u8` from 0 to
 * 255, those of `bool` 0 or 1.
 */
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
  | BigUint64Array

/** Numbers or booleans, nested as the axes are; a plain one for a tensor without axes. */
export type Nested = number | boolean | Nested[]

type Scalar = number | bigint | boolean

/**
 * A number as JSON that keeps it: JSON has no word for NaN and the infinities, and no sign at 0.
 */
export const exactNumber = (x: number): number | string =>
  Object.is(x, -0) ? '-0' : Number.isFinite(x) ? x : String(x)

/** Bytes of the addon, in this realm: what it makes is of the realm that has loaded it first. */
export const ownBytes = ({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** The values of a native tensor. */
export const elements = (tensor: NativeTensor): TypedArray =>
  valuesOf(tensor.dataSync(), tensor.dtype())

/** The values with these bytes, which may stand anywhere in a larger buffer. */
export function valuesOf(given: Uint8Array, dtype: DType): TypedArray {
  const bytes = ownBytes(given)
  return arrayOver(bytes.byteOffset % 8 === 0 ? bytes : bytes.slice(), dtype)
}

/** The array that stands for a type, over bytes that begin at a multiple of 8. */
export function arrayOver(bytes: Uint8Array, dtype: DType): TypedArray {
  const { buffer, byteOffset, byteLength } = bytes
  if (dtype === 'u8' || dtype === 'bool') return bytes
  if (dtype === 'f64') return new Float64Array(buffer, byteOffset, byteLength / 8)
  if (dtype === 'i64') return new BigInt64Array(buffer, byteOffset, byteLength / 8)
  return new Float32Array(buffer, byteOffset, byteLength / 4)
}

/**
 * An element as a number, or as a boolean of `bool`.
 *
 * @throws XTransformersError (`invalid_tensor`) where it is a whole number that JavaScript's
 *   numbers do not hold
 */
export function plain(value: number | bigint | undefined, dtype: DType): number | boolean {
  const number = Number(value)
  if (dtype === 'bool') return number !== 0
  if (typeof value !== 'bigint' || Number.isSafeInteger(number)) return number
  throw new XTransformersError(
    'invalid_tensor',
    `${value} has more digits than a number: read dataSync(), a BigInt64Array, or cast to f64`,
  )
}

/** Values as nested arrays; `element` makes one. */
export function nested(
  data: TypedArray,
  shape: readonly number[],
  dtype: DType,
  element = plain,
): Nested {
  let at = 0
  const build = (axis: number): Nested => {
    if (axis === shape.length) return element(data[at++], dtype)
    return Array.from({ length: shape[axis] as number }, () => build(axis + 1))
  }
  return build(0)
}

/** Values as text: unlike JSON with NaN, and with all digits of an i64. */
export function inline(data: TypedArray, shape: readonly number[], dtype: DType): string {
  const element = (value: number | bigint | undefined) =>
    dtype === 'bool' ? value !== 0 : (String(value) as never)
  return jsonOf(nested(data, shape, dtype, element)).replaceAll('"', '')
}

/** Bytes for the native side, what they are, and the shape that the data has by itself. */
export interface PackedData {
  bytes: Uint8Array
  source: DType
  dtype: DType
  shape: number[]
}

/**
 * The shape of a tensor of this data: the one that is given, else the data's own.
 *
 * @throws XTransformersError (`invalid_tensor`) where it is for another number of elements
 */
export function shapeFor(packed: PackedData, given: unknown): number[] {
  if (given === undefined) return packed.shape
  const shape = checkShape(given)
  const [size, has] = [sizeOf(shape), sizeOf(packed.shape)]
  if (size === has) return shape
  throw new XTransformersError(
    'invalid_tensor',
    `shape [${shape}] has ${size} elements, the data ${has}`,
  )
}

/**
 * @throws XTransformersError (`invalid_tensor`) where a tensor of this shape has not one element
 */
export function requireOneElement(shape: readonly number[]): void {
  if (sizeOf(shape) === 1) return
  throw new XTransformersError(
    'invalid_tensor',
    `item() needs a tensor with one element, this one has shape [${shape}]`,
  )
}

/**
 * Makes `data` ready for the native side. `dtype` undefined: as the data suggests, numbers as f32.
 */
export function pack(data: TensorData, dtype: DType | undefined): PackedData {
  if (ArrayBuffer.isView(data)) return packTyped(data as Typed, dtype)
  const shape: number[] = []
  const flat: Scalar[] = []
  flatten(data, 0, '', shape, flat)
  const suggested =
    typeof flat[0] === 'boolean' ? 'bool' : typeof flat[0] === 'bigint' ? 'i64' : 'f32'
  return { ...packFlat(flat, dtype ?? suggested), shape }
}

type Typed = Extract<TensorData, ArrayBufferView>

/**
 * Of the prototype of all typed arrays: the name of their kind, whatever realm or subclass they are
 * of, and undefined for anything else. A page may have put a subclass in the place of Uint8Array:
 * the prototype is further up then.
 */
function getterOfKind(): ((this: unknown) => string | undefined) | undefined {
  for (let at: object | null = Uint8Array.prototype; at; at = Object.getPrototypeOf(at)) {
    const get = Object.getOwnPropertyDescriptor(at, Symbol.toStringTag)?.get
    if (get) return get
  }
  return undefined
}

const kindOf = getterOfKind()

/**
 * The type that a typed array has by itself, and whether its bytes are those of a tensor of that
 * type.
 */
const KINDS: Record<string, readonly [natural: DType, same: boolean]> = {
  Float32Array: ['f32', true],
  Float64Array: ['f64', true],
  Float16Array: ['f16', false],
  Uint8Array: ['u8', true],
  Uint8ClampedArray: ['u8', true],
  BigInt64Array: ['i64', true],
  BigUint64Array: ['i64', false],
  Int8Array: ['i64', false],
  Int16Array: ['i64', false],
  Int32Array: ['i64', false],
  Uint16Array: ['i64', false],
  Uint32Array: ['i64', false],
}

function packTyped(data: Typed, wanted: DType | undefined): PackedData {
  const kind = KINDS[kindOf?.call(data) as string]
  if (!kind) {
    const hint = 'give a typed array over its memory, such as new Float32Array(view.buffer)'
    throw new XTransformersError(
      'invalid_argument',
      `data must be numbers of a known type, got ${describeValue(data)}: ${hint}`,
    )
  }
  const [source, same] = kind
  const dtype = wanted ?? source
  const bytes = bytesOf(data)
  const shape = [data.length]
  // the native side converts; what could lose something goes element by element, with a look at
  // each
  if (same && (dtype === source || isFloat(dtype))) return { bytes, source, dtype, shape }
  return { ...packFlat(Array.from<Scalar>(data as ArrayLike<number>), dtype), shape }
}

/** Whether other threads may write into the memory. */
export const isShared = (buffer: ArrayBufferLike) => tagOf(buffer) === 'SharedArrayBuffer'

/** The bytes of a typed array; a copy of them where others may write meanwhile. */
function bytesOf(data: ArrayBufferView): Uint8Array {
  const bytes = presentBytes(data)
  return isShared(bytes.buffer) ? new Uint8Array(bytes) : bytes
}

/** The bytes of a view, in this realm. */
export function presentBytes({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  try {
    return new Uint8Array(buffer, byteOffset, byteLength)
  } catch (error) {
    const message =
      'the memory of the data is gone: its ArrayBuffer was transferred (to a worker, say) or made smaller'
    throw new XTransformersError('invalid_argument', message, [], { cause: error })
  }
}

function packFlat(flat: Scalar[], dtype: DType): Omit<PackedData, 'shape'> {
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
  throw new XTransformersError(
    'invalid_argument',
    `an i64 tensor holds whole numbers, got ${String(value)}`,
  )
}

/** Notes the values of nested arrays, which must be rectangular. */
function flatten(
  data: unknown,
  depth: number,
  path: string,
  shape: number[],
  flat: Scalar[],
): void {
  const list = Array.isArray(data) ? data : null
  const place = path === '' ? 'data' : `data${path}`
  if (depth > MAX_AXES) {
    throw new XTransformersError(
      'invalid_tensor',
      `data is nested deeper than the ${MAX_AXES} axes that a tensor can have`,
    )
  }
  // the first way down to a value sets the shape
  if (list && flat.length === 0 && shape.length === depth) shape.push(list.length)
  if (!list) {
    if (typeof data !== 'number' && typeof data !== 'bigint' && typeof data !== 'boolean') {
      throw new XTransformersError(
        'invalid_argument',
        `${place} must be a number, a boolean or an array, got ${describeValue(data)}`,
      )
    }
    if (depth !== shape.length) throw ragged(place, `an array of ${shape[depth]}`, 'a number')
    flat.push(data)
    return
  }
  if (depth >= shape.length) throw ragged(place, 'a number', `an array of ${list.length}`)
  if (list.length !== shape[depth])
    throw ragged(place, `an array of ${shape[depth]}`, `an array of ${list.length}`)
  for (let i = 0; i < list.length; i++) flatten(list[i], depth + 1, `${path}[${i}]`, shape, flat)
}

function ragged(place: string, want: string, got: string): XTransformersError {
  return new XTransformersError(
    'invalid_tensor',
    `nested arrays must be rectangular: ${place} should be ${want} like the others, and is ${got}`,
  )
}
