import { native } from '#native'
import { checkFlag, checkNumber, checkOptions, describeValue } from '../checks.js'
import { guarded, XTransformersError } from '../errors.js'
import type { DType, NativeTensor } from '../native/native.js'
import { exactNumber, pack, shapeFor, type TensorData } from './data.js'
import { getDefaultDevice } from './default-device.js'
import { checkDevice, type Device } from './device.js'
import { checkDType, checkShape, isFloat } from './dtype.js'
import { create, type Tensor, wrap, wrapLeaf } from './tensor.js'

/** Where a new tensor is and what it holds. */
export interface TensorOptions {
  /**
   * Type of the elements. For `tensor(data)`: that of a typed array, `bool` for booleans, `i64` for
   * bigints, else `f32`; `i64` for `randint` and `arange`.
   *
   * @default 'f32'
   */
  dtype?: DType | undefined
  /**
   * Where the values are.
   *
   * @default what `setDefaultDevice` has chosen, else 'cpu'
   */
  device?: Device | undefined
  /**
   * The tensor is a leaf that collects a gradient.
   *
   * @default false
   */
  requires_grad?: boolean | undefined
}

/** Options of {@link tensor}. */
export interface FromDataOptions extends TensorOptions {
  /** Shape of the tensor. Absent: that of the nested arrays, or one axis for a typed array. */
  shape?: readonly number[] | undefined
}

const KEYS = ['dtype', 'device', 'requires_grad']

/** Checks the options of something that makes a tensor, and reads each of them once. */
function check<T extends FromDataOptions>(options: T | undefined, what: string, keys = KEYS): T {
  const own = checkOptions(options, `${what}()`, keys)
  if (own.dtype !== undefined) checkDType(own.dtype)
  if (own.requires_grad !== undefined) checkFlag(own.requires_grad, 'requires_grad')
  return own
}

/** A new native tensor as the public class. */
function finish(made: NativeTensor, requires_grad = false): Tensor {
  if (!requires_grad) return wrap(made)
  try {
    return wrapLeaf(guarded(() => made.asLeaf()))
  } finally {
    made.dispose()
  }
}

function make(
  name: string,
  shape: readonly number[],
  options: TensorOptions,
  args: object,
  fallback: DType = 'f32',
) {
  const { dtype = fallback, device = getDefaultDevice(), requires_grad } = check(options, name)
  return finish(
    create(name, { shape: checkShape(shape), dtype, device: checkDevice(device), ...args }),
    requires_grad,
  )
}

/**
 * A tensor from a number, nested arrays, or a typed array.
 *
 * @throws XTransformersError (`invalid_tensor`) where nested arrays are not rectangular or the
 *   shape does not fit
 * @example
 * tensor([[1, 2], [3, 4]]) // f32, [2, 2]
 * tensor(new BigInt64Array([1n, 2n]), { shape: [1, 2] }) // i64
 * tensor([1, 2, 3], { dtype: 'i64' })
 */
export function tensor(data: TensorData, given: FromDataOptions = {}): Tensor {
  const options = check(given, 'tensor', ['shape', ...KEYS])
  const packed = pack(data, options.dtype)
  const shape = shapeFor(packed, options.shape)
  const device = checkDevice(options.device ?? getDefaultDevice())
  const made: NativeTensor = guarded(() =>
    native.tensor(packed.bytes, packed.source, packed.dtype, shape, device),
  )
  return finish(made, options.requires_grad)
}

/** A tensor of zeros. */
export function zeros(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return make('zeros', shape, options, {})
}

/** A tensor of ones. */
export function ones(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return make('ones', shape, options, {})
}

/**
 * A tensor with one value everywhere.
 *
 * @throws XTransformersError (`invalid_tensor`) where the type does not hold the value, such as 300
 *   or 1.5 for `u8`
 */
export function full(shape: readonly number[], value: number, given: TensorOptions = {}): Tensor {
  const options = check(given, 'full')
  const holds =
    typeof value === 'number' && (Number.isFinite(value) || isFloat(options.dtype ?? 'f32'))
  if (!holds) checkNumber(value, 'value')
  return make('full', shape, options, { value: exactNumber(value) })
}

/** Random numbers, uniform from 0 to below 1. */
export function rand(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return make('rand', shape, options, {})
}

/** Random numbers, normal with mean 0 and standard deviation 1. */
export function randn(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return make('randn', shape, options, {})
}

/**
 * Random whole numbers from `low` to below `high`, `i64` by default.
 *
 * @throws XTransformersError (`invalid_tensor`) where the type does not hold all of them, such as
 *   up to 300 for `u8`
 * @example
 * randint(0, 256, [4, 1024])
 */
export function randint(
  low: number,
  high: number,
  shape: readonly number[],
  options: TensorOptions = {},
): Tensor {
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low >= high) {
    throw new XTransformersError(
      'invalid_argument',
      `randint needs whole numbers with low < high, got ${describeValue(low)} and ${describeValue(high)}`,
    )
  }
  return make('randint', shape, options, { low, high }, 'i64')
}

/**
 * The numbers from `start` (0) to before `end`, `i64` by default.
 *
 * @throws XTransformersError (`invalid_tensor`) where a type of whole numbers does not hold all of
 *   them
 * @example
 * arange(3).toArray() // [0, 1, 2]
 * arange(0, 6, 2).toArray() // [0, 2, 4]
 */
export function arange(end: number, options?: TensorOptions): Tensor
export function arange(start: number, end: number, step?: number, options?: TensorOptions): Tensor
export function arange(
  first: number,
  second?: number | TensorOptions,
  step?: number,
  options?: TensorOptions,
): Tensor {
  // one number is the end, as in PyTorch
  if (typeof second === 'object' && second !== null) return steps(0, first, 1, second)
  return second === undefined ? steps(0, first, step, options) : steps(first, second, step, options)
}

function steps(start: number, end: number, step = 1, options: TensorOptions = {}): Tensor {
  const { dtype = 'i64', device = getDefaultDevice(), requires_grad } = check(options, 'arange')
  const args = {
    start: checkNumber(start, 'start'),
    end: checkNumber(end, 'end'),
    step: checkNumber(step, 'step'),
  }
  if (step === 0) throw new XTransformersError('invalid_argument', 'step must not be 0')
  if (!isFloat(dtype) && !Object.values(args).every(Number.isSafeInteger)) {
    throw new XTransformersError(
      'invalid_argument',
      `arange of ${dtype} needs whole numbers: pass { dtype: 'f32' } for others`,
    )
  }
  // steps that lead away from the end give nothing, as in NumPy
  const empty = Math.sign(end - start) !== Math.sign(step)
  const shape = [empty ? 0 : Math.ceil((end - start) / step)]
  if (empty) return make('zeros', shape, { dtype, device, requires_grad }, {})
  return finish(
    create('arange', { ...args, shape, dtype, device: checkDevice(device) }),
    requires_grad,
  )
}
