import { checkFlag, checkInteger, checkNumber, checkOptions, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { exactNumber } from './data.js'
import { ElementwiseOps } from './elementwise.js'
import type { Axes, ReduceOptions } from './op-base.js'

/** Options of `std` and `var`. */
export interface SpreadOptions extends ReduceOptions {
  /**
   * The sum of the squared distances from the mean is divided by the number of elements less this:
   * 1 for samples (Bessel's correction), 0 for whole populations.
   *
   * @default 1
   */
  correction?: number | undefined
}

/** Options of `norm`. */
export interface NormOptions extends ReduceOptions {
  /**
   * The order of the norm: (sum of |x|^p)^(1/p). Infinity: the greatest absolute value; -Infinity:
   * the least; 0: the number of elements that are not 0.
   *
   * @default 2
   */
  p?: number | undefined
}

/** Options of `sort` and `argsort`. */
export interface SortOptions {
  /**
   * The greatest element comes first.
   *
   * @default false
   */
  descending?: boolean | undefined
}

/** Options of `topk`. */
export interface TopkOptions {
  /**
   * The greatest elements; false: the least.
   *
   * @default true
   */
  largest?: boolean | undefined
}

/** Elements in an order, and where they were. */
export interface Sorted<T> {
  /** The elements. */
  values: T
  /** The index of each along the axis, `i64`. */
  indices: T
}

/** Operations along axes. */
export abstract class ReductionOps<T extends ReductionOps<T>> extends ElementwiseOps<T> {
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
    return this.position('argmax', dim, options)
  }

  /**
   * Index of the smallest element along an axis, as `i64`: of the first one, and of the first NaN
   * where there is one.
   *
   * @throws XTransformersError (`invalid_tensor`) where the axis is empty
   */
  argmin(dim = -1, options?: ReduceOptions): T {
    return this.position('argmin', dim, options)
  }

  private position(name: string, dim: number, options: ReduceOptions | undefined): T {
    const { keepdim } = checkOptions(options, `${name}()`, ['keepdim'])
    return this.run(name, [], {
      dim: this.axis(dim),
      keepdim: checkFlag(keepdim, 'keepdim', false),
    })
  }

  /**
   * Product over the given axes; of whole numbers and truth values it is `i64`, of nothing 1.
   */
  prod(dims?: Axes, options?: ReduceOptions): T {
    return this.reduce('prod', dims, options)
  }

  /**
   * Standard deviation over the given axes; NaN of too few elements. Its gradient is 0 where it is
   * 0.
   *
   * @throws XTransformersError (`invalid_tensor`) for whole numbers: cast them first
   * @example
   * tensor([1, 2, 3, 4]).std(0, { correction: 0 }).item() // 1.118
   */
  std(dims?: Axes, options?: SpreadOptions): T {
    return this.spread('std', dims, options)
  }

  /**
   * Variance over the given axes; NaN of too few elements.
   *
   * @throws XTransformersError (`invalid_tensor`) for whole numbers: cast them first
   */
  var(dims?: Axes, options?: SpreadOptions): T {
    return this.spread('var', dims, options)
  }

  private spread(name: string, dims: Axes | undefined, options: SpreadOptions | undefined): T {
    const correction = checkNumber(options?.correction ?? 1, 'correction')
    return this.reduce(name, dims, options, { correction })
  }

  /**
   * The p-norm over the given axes, the Euclidean one by default. Its gradient at 0 is 0.
   *
   * @throws XTransformersError (`invalid_tensor`) for whole numbers, and for an infinite `p` where
   *   an axis is empty
   * @example
   * tensor([3, -4]).norm().item() // 5
   */
  norm(dims?: Axes, options?: NormOptions): T {
    const p: unknown = options?.p ?? 2
    if (typeof p !== 'number' || Number.isNaN(p)) throw refuse('p', 'a number', p)
    return this.reduce('norm', dims, options, { p: exactNumber(p) })
  }

  /** Whether an element over the given axes is true or not 0, as `bool`. NaN counts as true. */
  any(dims?: Axes, options?: ReduceOptions): T {
    return this.reduce('any', dims, options)
  }

  /** Whether all elements over the given axes are true or not 0, as `bool`; true of nothing. */
  all(dims?: Axes, options?: ReduceOptions): T {
    return this.reduce('all', dims, options)
  }

  /**
   * Running sums along an axis; of whole numbers and truth values `i64`.
   *
   * @example
   * tensor([1, 2, 3]).cumsum(0).toArray() // [1, 3, 6]
   */
  cumsum(dim: number): T {
    return this.run('cumsum', [], { dim: this.axis(dim) })
  }

  /**
   * The elements along an axis in order, and where they were. Equal ones keep their order; NaN is
   * greater than every number.
   *
   * @example
   * const { values, indices } = tensor([3, 1, 2]).sort()
   * values.toArray() // [1, 2, 3]
   * indices.toArray() // [1, 2, 0]
   */
  sort(dim = -1, options?: SortOptions): Sorted<T> {
    return this.taken(dim, this.argsort(dim, options))
  }

  /** The indices that {@link sort} gives. */
  argsort(dim = -1, options?: SortOptions): T {
    const { descending } = checkOptions(options, 'sort()', ['descending'])
    return this.order(dim, undefined, checkFlag(descending, 'descending', false))
  }

  /**
   * The `k` greatest elements along an axis, or the least, in order, and where they were. Equal
   * ones keep their order; NaN is greater than every number.
   *
   * @throws XTransformersError (`invalid_tensor`) where the axis is shorter than `k`
   * @example
   * const { values, indices } = logits.topk(5)
   */
  topk(k: number, dim = -1, options?: TopkOptions): Sorted<T> {
    const { largest } = checkOptions(options, 'topk()', ['largest'])
    return this.taken(
      dim,
      this.order(dim, checkInteger(k, 'k'), checkFlag(largest, 'largest', true)),
    )
  }

  private order(dim: number, k: number | undefined, descending: boolean): T {
    const at = this.axis(dim)
    const length = this.shape[at] as number
    if (k !== undefined && (k < 0 || k > length)) {
      throw new XTransformersError(
        'invalid_tensor',
        `topk: k is ${k}, and axis ${dim} of [${this.shape}] has ${length} elements`,
      )
    }
    return this.run('argsort', [], { dim: at, k: k ?? length, descending })
  }

  /** The elements at these indices. */
  private taken(dim: number, indices: T): Sorted<T> {
    return { values: this.run('gather', [indices], { dim: this.axis(dim) }), indices }
  }
}
