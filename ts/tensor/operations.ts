import { checkInteger, checkNumber, checkOptions, refuse } from '../checks.js'
import type { DType } from '../native/native.js'
import type { IdArray, MaskArray } from './arrays.js'
import { exactNumber } from './data.js'
import { checkDType } from './dtype.js'
import { ShapeOps } from './shapes.js'

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

/**
 * The operations of a `Tensor`, all differentiable but for comparisons and indices. Light: they run
 * at once, in the calling thread. A second operand may be a number; shapes are broadcast as in
 * NumPy. Whole numbers and truth values are treated as in PyTorch: they are summed as `i64` and
 * divided as `f32`; results that their type does not hold wrap, and numbers that it does not hold
 * are errors.
 */
export abstract class TensorOps<T extends TensorOps<T>> extends ShapeOps<T> {
  /**
   * Matrix product of the last two axes, (.., m, k) and (.., k, n); the axes before are broadcast.
   * A vector is a row on the left and a column on the right, and has no such axis in the result.
   *
   * @example
   * tensor([1, 2]).matmul(tensor([3, 4])).item() // 11
   */
  matmul(other: T): T {
    return this.run('matmul', [this.operand(other)])
  }

  /** Softmax along an axis. */
  softmax(dim = -1): T {
    return this.run('softmax', [], { dim: this.axis(dim) })
  }

  /** Logarithm of the softmax along an axis. */
  logSoftmax(dim = -1): T {
    return this.run('log_softmax', [], { dim: this.axis(dim) })
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
    return this.withData(targets, 'ids', 'targets', (ids) =>
      this.run('cross_entropy', [ids], { ignore_index, label_smoothing }),
    )
  }

  /** Mean of the squared differences. */
  mse(target: T): T {
    return this.run('mse', [this.operand(target)])
  }

  /** Products of all elements of two vectors: (m) and (n) give (m, n). */
  outer(other: T): T {
    return this.run('outer', [this.operand(other)])
  }

  /**
   * The elements that `index` (`i64`, with the same number of axes) names along an axis, as in
   * PyTorch.
   */
  gather(dim: number, index: T | IdArray): T {
    return this.withData(index, 'ids', 'index', (ids) =>
      this.run('gather', [ids], { dim: this.axis(dim) }),
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
   * These elements, and `value` where the mask is true; both are broadcast.
   *
   * @example
   * scores.maskedFill(mask.logicalNot(), -Infinity).softmax()
   */
  maskedFill(mask: T | MaskArray, value: number): T {
    if (typeof value !== 'number') throw refuse('value', 'a number', value)
    return this.withData(mask, 'mask', 'mask', (tensor) =>
      this.run('masked_fill', [tensor], { value: exactNumber(value) }),
    )
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
