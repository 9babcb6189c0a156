import { checkFlag, checkInteger, checkList, checkNumber, checkOptions, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { DType } from '../native/native.js'
import type { IdArray } from './arrays.js'
import { exactNumber } from './data.js'
import { checkDType, checkShape, sizeOf } from './dtype.js'

/** Which axes a reduction takes away; absent: all. Negative ones count from the end. */
export type Axes = number | readonly number[]

/** Options of a reduction. */
export interface ReduceOptions {
  /**
   * The axes stay, with length 1.
   *
   * @default false
   */
  keepdim?: boolean | undefined
}

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions {
  /**
   * Targets with this value do not count.
   *
   * @default -100
   */
  ignore_index?: number | undefined
  /**
   * The share of the probability that targets spread over all classes, from 0 to 1.
   * <https://arxiv.org/abs/1512.00567>
   *
   * @default 0
   */
  label_smoothing?: number | undefined
}

/** `dim` counted from the front. */
export function axis(dim: number, axes: number): number {
  if (!Number.isInteger(dim)) throw refuse('an axis', 'a whole number', dim, 'invalid_tensor')
  const found = dim < 0 ? dim + axes : dim
  if (found >= 0 && found < axes) return found
  throw new XTransformersError(
    'invalid_tensor',
    `there is no axis ${dim}: the tensor has ${axes} axes`,
  )
}

/** The options of a reduction. */
function keepdimOf(options: ReduceOptions | undefined, name: string): boolean {
  const { keepdim } = checkOptions(options, `${name}()`, ['keepdim'])
  return checkFlag(keepdim, 'keepdim', false)
}

/**
 * The operations of a `Tensor`, all differentiable but for comparisons and `argmax`. Light: they
 * run at once, in the calling thread. A second operand may be a number; shapes are broadcast as in
 * NumPy. Whole numbers and truth values are treated as in PyTorch: they are summed as `i64` and
 * divided as `f32`; results that their type does not hold wrap, and numbers that it does not hold
 * are errors.
 */
export abstract class TensorOps<T extends TensorOps<T>> {
  abstract readonly shape: readonly number[]

  /** Runs an operation of the native side on this tensor and others. */
  protected abstract run(name: string, others: readonly T[], args?: Record<string, unknown>): T

  private binary(name: string, other: T | number): T {
    if (typeof other !== 'number') return this.run(name, [this.operand(other)])
    return this.run(name, [], { scalar: exactNumber(other) })
  }

  /** Gives `use` a tensor of whole numbers; one that is made of an array is freed after it. */
  protected abstract withIds(value: unknown, name: string, use: (tensor: T) => T): T

  /** One element of that value, of the type that it takes in an operation with this tensor. */
  protected abstract scalarLike(value: number): T

  /** Checks another tensor. */
  protected abstract operand(value: unknown): T

  private reduce(name: string, dims: Axes | undefined, options: ReduceOptions | undefined): T {
    const keepdim = keepdimOf(options, name)
    if (dims === undefined || dims === null) return this.run(name, [], { keepdim })
    const list = typeof dims === 'number' ? [dims] : checkList(dims, 'the axes', 'whole numbers')
    return this.run(name, [], { dims: list.map((dim) => axis(dim, this.shape.length)), keepdim })
  }

  /** Sum; `number` or a tensor that is broadcast. Of two `bool` tensors whether one is true. */
  add(other: T | number): T {
    return this.binary('add', other)
  }

  /** Difference. */
  sub(other: T | number): T {
    return this.binary('sub', other)
  }

  /** Product, element by element. Of two `bool` tensors whether both are true. */
  mul(other: T | number): T {
    return this.binary('mul', other)
  }

  /**
   * True quotient: whole numbers give `f32`. For whole ones cast the result, which cuts off the
   * fraction.
   *
   * @example
   * tensor([1, 3], { dtype: 'i64' }).div(2).toArray() // [0.5, 1.5]
   */
  div(other: T | number): T {
    return this.binary('div', other)
  }

  /**
   * Power.
   *
   * @throws XTransformersError (`invalid_tensor`) where whole numbers have negative exponents
   */
  pow(exponent: T | number): T {
    return this.binary('pow', exponent)
  }

  /** The larger of both, element by element; NaN where one is. */
  maximum(other: T | number): T {
    return this.binary('maximum', other)
  }

  /** The smaller of both, element by element; NaN where one is. */
  minimum(other: T | number): T {
    return this.binary('minimum', other)
  }

  /** Where both are equal, as `bool`. Whole numbers are compared exactly, also with fractions. */
  eq(other: T | number): T {
    return this.binary('eq', other)
  }

  /** Where both differ, as `bool`. */
  ne(other: T | number): T {
    return this.binary('ne', other)
  }

  /** Where this is less, as `bool`. */
  lt(other: T | number): T {
    return this.binary('lt', other)
  }

  /** Where this is less or equal, as `bool`. */
  le(other: T | number): T {
    return this.binary('le', other)
  }

  /** Where this is greater, as `bool`. */
  gt(other: T | number): T {
    return this.binary('gt', other)
  }

  /** Where this is greater or equal, as `bool`. */
  ge(other: T | number): T {
    return this.binary('ge', other)
  }

  /** Where this is zero or false, as `bool`. */
  logicalNot(): T {
    return this.run('logical_not', [])
  }

  /** The negative. */
  neg(): T {
    return this.run('neg', [])
  }

  /** e to the power of each element. */
  exp(): T {
    return this.run('exp', [])
  }

  /** Natural logarithm. */
  log(): T {
    return this.run('log', [])
  }

  /** Square root. */
  sqrt(): T {
    return this.run('sqrt', [])
  }

  /** Absolute value. */
  abs(): T {
    return this.run('abs', [])
  }

  /** Hyperbolic tangent. */
  tanh(): T {
    return this.run('tanh', [])
  }

  /** 1 / (1 + exp(-x)). */
  sigmoid(): T {
    return this.run('sigmoid', [])
  }

  /** max(x, 0); its gradient at 0 is 0, as in PyTorch. */
  relu(): T {
    return this.run('relu', [])
  }

  /** GELU, the exact one (erf). */
  gelu(): T {
    return this.run('gelu', [])
  }

  /** SiLU: x * sigmoid(x). */
  silu(): T {
    return this.run('silu', [])
  }

  /**
   * Sum over the given axes; of whole numbers and truth values it is `i64`, of nothing 0.
   *
   * @example
   * ones([2, 3]).sum(-1).shape // [2]
   */
  sum(dims?: Axes, options?: ReduceOptions): T {
    return this.reduce('sum', dims, options)
  }

  /**
   * Mean over the given axes; NaN of nothing.
   *
   * @throws XTransformersError (`invalid_tensor`) for whole numbers: cast them first
   */
  mean(dims?: Axes, options?: ReduceOptions): T {
    return this.reduce('mean', dims, options)
  }

  /**
   * Largest element over the given axes; NaN where there is one.
   *
   * @throws XTransformersError (`invalid_tensor`) where an axis is empty
   */
  max(dims?: Axes, options?: ReduceOptions): T {
    return this.reduce('max', dims, options)
  }

  /**
   * Smallest element over the given axes; NaN where there is one.
   *
   * @throws XTransformersError (`invalid_tensor`) where an axis is empty
   */
  min(dims?: Axes, options?: ReduceOptions): T {
    return this.reduce('min', dims, options)
  }

  /**
   * Index of the largest element along an axis, as `i64`: of the first one, and of the first NaN
   * where there is one.
   *
   * @throws XTransformersError (`invalid_tensor`) where the axis is empty
   */
  argmax(dim = -1, options?: ReduceOptions): T {
    const keepdim = keepdimOf(options, 'argmax')
    return this.run('argmax', [], { dim: axis(dim, this.shape.length), keepdim })
  }

  /**
   * Matrix product of the last two axes, (.., m, k) and (.., k, n); the axes before are broadcast.
   */
  matmul(other: T): T {
    return this.run('matmul', [this.operand(other)])
  }

  /** Softmax along an axis. */
  softmax(dim = -1): T {
    return this.run('softmax', [], { dim: axis(dim, this.shape.length) })
  }

  /** Logarithm of the softmax along an axis. */
  logSoftmax(dim = -1): T {
    return this.run('log_softmax', [], { dim: axis(dim, this.shape.length) })
  }

  /**
   * Mean cross entropy of these logits, (.., classes), with target ids, (..); NaN where no target
   * counts.
   */
  crossEntropy(targets: T | IdArray, options?: CrossEntropyOptions): T {
    const own = checkOptions(options, 'crossEntropy()', ['ignore_index', 'label_smoothing'])
    const ignore_index = checkInteger(own.ignore_index ?? -100, 'ignore_index')
    const label_smoothing = checkNumber(own.label_smoothing ?? 0, 'label_smoothing')
    if (label_smoothing < 0 || label_smoothing > 1)
      throw refuse('label_smoothing', 'a number from 0 to 1', label_smoothing)
    return this.withIds(targets, 'targets', (ids) =>
      this.run('cross_entropy', [ids], { ignore_index, label_smoothing }),
    )
  }

  /** Mean of the squared differences. */
  mse(target: T): T {
    return this.run('mse', [this.operand(target)])
  }

  /**
   * The same elements in another shape; one length may be -1, and is then found.
   *
   * @example
   * arange(0, 6).reshape([2, -1]).shape // [2, 3]
   */
  reshape(shape: readonly number[]): T {
    const wanted = checkShape(shape, true)
    const size = sizeOf(this.shape)
    const known = wanted.filter((n) => n !== -1).reduce((a, b) => a * b, 1)
    const found = wanted.map((n) => (n === -1 && known > 0 ? size / known : n))
    const fits = found.every((n) => Number.isInteger(n) && n >= 0) && sizeOf(found) === size
    if (!fits) {
      throw new XTransformersError(
        'invalid_tensor',
        `[${this.shape}], ${size} elements, cannot be reshaped to [${wanted}]`,
      )
    }
    return this.run('reshape', [], { shape: found })
  }

  /** The axes in another order. */
  permute(dims: readonly number[]): T {
    const list = checkList(dims, 'the axes', 'whole numbers')
    return this.run('permute', [], { dims: list.map((dim) => axis(dim, this.shape.length)) })
  }

  /** Two axes swapped. */
  transpose(a = -2, b = -1): T {
    const dims = this.shape.map((_, i) => i)
    const [from, to] = [axis(a, dims.length), axis(b, dims.length)]
    dims[from] = to
    dims[to] = from
    return this.run('permute', [], { dims })
  }

  /**
   * The part from `start` to before `end` along an axis; negative ones count from the end, as in
   * Python.
   */
  slice(dim: number, start: number, end?: number): T {
    const at = axis(dim, this.shape.length)
    const length = this.shape[at] as number
    const clip = (n: number) => Math.min(length, Math.max(0, n < 0 ? n + length : n))
    const from = clip(checkInteger(start, 'start'))
    const to = clip(checkInteger(end ?? length, 'end'))
    return this.run('slice', [], { dim: at, start: from, end: Math.max(from, to) })
  }

  /**
   * The elements that `index` (`i64`, with the same number of axes) names along an axis, as in
   * PyTorch.
   */
  gather(dim: number, index: T | IdArray): T {
    return this.withIds(index, 'index', (ids) =>
      this.run('gather', [ids], { dim: axis(dim, this.shape.length) }),
    )
  }

  /** `a` where this is true, else `b`. */
  where(a: T | number, b: T | number): T {
    const [first, second] = [a, b].map((x) => (typeof x === 'number' ? x : this.operand(x)))
    const like: TensorOps<T> =
      typeof first === 'object' ? first : typeof second === 'object' ? second : this
    const tensor = (x: T | number | undefined) =>
      typeof x === 'object' ? x : like.scalarLike(x as number)
    return this.run('where', [tensor(first), tensor(second)])
  }

  /**
   * The same values in another type. As in PyTorch, `bool` is true for all but 0, fractions are cut
   * off, and `u8` wraps.
   *
   * @throws XTransformersError (`invalid_tensor`) where NaN or a number beyond 64 bits is to become
   *   a whole one
   */
  cast(dtype: DType): T {
    return this.run('cast', [], { dtype: checkDType(dtype) })
  }
}
