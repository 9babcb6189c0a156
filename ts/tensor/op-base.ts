import { checkFlag, checkList, checkOptions, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { ArgumentKind } from './arrays.js'
import { exactNumber } from './data.js'
import { sizeOf } from './dtype.js'

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

/** `dims` counted from the front. */
export function axesOf(dims: Axes, axes: number): number[] {
  const list = typeof dims === 'number' ? [dims] : checkList(dims, 'the axes', 'whole numbers')
  return list.map((dim) => axis(dim, axes))
}

/** What the operations of a tensor rest on. */
export abstract class OpBase<T extends OpBase<T>> {
  abstract readonly shape: readonly number[]

  /** Runs an operation of the native side on this tensor and others. */
  protected abstract run(name: string, others: readonly T[], args?: Record<string, unknown>): T

  /** Gives `use` a tensor; one that is made of an array is freed after it. */
  protected abstract withData(
    value: unknown,
    kind: ArgumentKind,
    name: string,
    use: (tensor: T) => T,
  ): T

  /** One element of that value, of the type that it takes in an operation with this tensor. */
  protected abstract scalarLike(value: number): T

  /** Checks another tensor. */
  protected abstract operand(value: unknown): T

  /** `dim` counted from the front. */
  protected axis(dim: number): number {
    return axis(dim, this.shape.length)
  }

  protected binary(name: string, other: T | number): T {
    if (typeof other !== 'number') return this.run(name, [this.operand(other)])
    return this.run(name, [], { scalar: exactNumber(other) })
  }

  /** Runs a reduction; `also` has the arguments that it takes besides. */
  protected reduce(
    name: string,
    dims: Axes | undefined,
    options: ReduceOptions | undefined,
    also: Record<string, unknown> = {},
  ): T {
    const own = checkOptions(options, `${name}()`, ['keepdim', ...Object.keys(also)])
    const args = { ...also, keepdim: checkFlag(own.keepdim, 'keepdim', false) }
    if (dims === undefined || dims === null) return this.run(name, [], args)
    return this.run(name, [], { ...args, dims: axesOf(dims, this.shape.length) })
  }

  /** The number of elements. */
  numel(): number {
    return sizeOf(this.shape)
  }
}
