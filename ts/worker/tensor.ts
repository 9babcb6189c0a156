import { BRAND, type Brand, brand, brandOf } from '../brand.js'
import { checkOptions } from '../checks.js'
import type { DType } from '../native/native.js'
import { INSPECT } from '../symbols.js'
import {
  arrayOver,
  inline,
  type Nested,
  nested,
  type PackedData,
  pack,
  plain,
  requireOneElement,
  shapeFor,
  type TensorData,
  type TypedArray,
} from '../tensor/data.js'
import { checkDType } from '../tensor/dtype.js'
import type { Tensor } from '../tensor/tensor.js'
import type { WireTensor } from './protocol.js'

/** Options of the worker's {@link tensor}. */
export interface HostTensorOptions {
  /** Shape of the tensor. Absent: that of the nested arrays, or one axis for a typed array. */
  shape?: readonly number[] | undefined
  /**
   * Type of the elements. Absent: that of a typed array, `bool` for booleans, `i64` for bigints,
   * else `f32`.
   */
  dtype?: DType | undefined
}

/**
 * Numbers with a shape, in JavaScript's memory: what goes to a worker and comes from it. A copy,
 * without a graph; nothing has to be freed.
 *
 * @example
 * const logits = await model.forward(tensor([[1, 2, 3]], { dtype: 'i64' }))
 * logits.shape // [1, 3, 256]
 * logits.data // Float32Array
 */
export class HostTensor {
  /**
   * The values in row-major order: Float32Array (also for f16 and bf16), Float64Array,
   * BigInt64Array for i64, Uint8Array for u8 and bool.
   */
  readonly data: TypedArray
  /** Length of each axis. */
  readonly shape: readonly number[]
  /** Type of the elements. */
  readonly dtype: DType

  /** @internal Made by {@link tensor}. */
  constructor({ data, shape, dtype }: WireTensor) {
    this.data = data
    this.shape = Object.freeze([...shape])
    this.dtype = dtype
  }

  /** The only element, as a number; a boolean for `bool`. */
  item(): number | boolean {
    requireOneElement(this.shape)
    return plain(this.data[0], this.dtype)
  }

  /**
   * The values as nested arrays of numbers, of booleans for `bool`; without axes, the value itself.
   */
  toArray(): Nested {
    return nested(this.data, this.shape, this.dtype)
  }

  /** Shape, type and, for a small tensor, the values. */
  toString(): string {
    const head = `HostTensor([${this.shape.join(', ')}], ${this.dtype})`
    return this.data.length > 100 ? head : `${head} ${inline(this.data, this.shape, this.dtype)}`
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand(IS_HOST_TENSOR, true)
  }

  /** @internal */
  [INSPECT](): string {
    return this.toString()
  }
}

/**
 * What a {@link HostTensor} is, to every copy of this package: it is copied anyway, so that all of
 * them are taken.
 */
const IS_HOST_TENSOR = 'a HostTensor (of x-transformers/worker, for models in a worker)'

/** Whether it is a {@link HostTensor}, of whichever copy of this package. */
export const isHostTensor = (value: unknown): value is HostTensor =>
  brandOf(value)?.is === IS_HOST_TENSOR

/**
 * A tensor as an argument: one of the worker's entry, or a `Tensor` of the library where the page
 * has that too.
 */
export type TensorInput = HostTensor | Tensor

/**
 * A tensor for a worker from a number, nested arrays, or a typed array; the values are copied.
 *
 * @throws XTransformersError (`invalid_tensor`) where nested arrays are not rectangular or the
 *   shape does not fit
 * @example
 * tensor([[1, 2], [3, 4]], { dtype: 'i64' })
 * tensor(new Float32Array(6), { shape: [2, 3] })
 */
export function tensor(data: TensorData, given: HostTensorOptions = {}): HostTensor {
  const options = checkOptions(given, 'tensor()', ['shape', 'dtype'])
  const dtype = options.dtype === undefined ? undefined : checkDType(options.dtype)
  const packed = pack(data, dtype)
  const shape = shapeFor(packed, options.shape)
  return new HostTensor({ data: values(packed), shape, dtype: packed.dtype })
}

/** A copy of the values in the array that stands for their type. */
function values({ bytes, source, dtype }: PackedData): TypedArray {
  const copy = arrayOver(bytes.slice(), source)
  if (copy.constructor === arrayOver(new Uint8Array(0), dtype).constructor) return copy
  // only to floats: whole numbers were converted, and checked, by pack
  const numbers = copy as ArrayLike<number | bigint>
  return dtype === 'f64' ? Float64Array.from(numbers, Number) : Float32Array.from(numbers, Number)
}
