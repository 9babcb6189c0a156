import { checkOptions, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { exactNumber } from './data.js'
import { OpBase } from './op-base.js'

/** Options of `clamp`; one of them must be there. */
export interface ClampOptions {
  /**
   * The least value.
   *
   * @default no limit
   */
  min?: number | undefined
  /**
   * The greatest value.
   *
   * @default no limit
   */
  max?: number | undefined
}

/** A limit of `clamp`, for the native side. */
function limit(value: unknown, name: string): number | string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number') throw refuse(name, 'a number', value)
  return exactNumber(value)
}

/** Operations that compute each element by itself. */
export abstract class ElementwiseOps<T extends ElementwiseOps<T>> extends OpBase<T> {
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

  /** Sine, of radians. */
  sin(): T {
    return this.run('sin', [])
  }

  /** Cosine, of radians. */
  cos(): T {
    return this.run('cos', [])
  }

  /** x * x. */
  square(): T {
    return this.run('square', [])
  }

  /** 1 / x; whole numbers give `f32`. */
  reciprocal(): T {
    return this.run('reciprocal', [])
  }

  /** 1 / sqrt(x). */
  rsqrt(): T {
    return this.run('rsqrt', [])
  }

  /** -1, 0 or 1; 0 for NaN. Its gradient is 0. */
  sign(): T {
    return this.run('sign', [])
  }

  /** The nearest whole number; of two, the even one. Its gradient is 0. */
  round(): T {
    return this.run('round', [])
  }

  /** The greatest whole number that is not greater. Its gradient is 0. */
  floor(): T {
    return this.run('floor', [])
  }

  /** The least whole number that is not less. Its gradient is 0. */
  ceil(): T {
    return this.run('ceil', [])
  }

  /**
   * Values below `min` become `min`, those above `max` become `max`; NaN stays. The gradient passes
   * between `min` and `max`; it is 0 at and outside of them, as in PyTorch from 2.15 on (before, it
   * passed at them).
   *
   * @throws XTransformersError (`invalid_argument`) where neither is given
   * @example
   * tensor([-2, 0.5, 7]).clamp({ min: 0, max: 1 }).toArray() // [0, 0.5, 1]
   */
  clamp(options: ClampOptions): T {
    const own = checkOptions(options, 'clamp()', ['min', 'max'])
    const [min, max] = [limit(own.min, 'min'), limit(own.max, 'max')]
    if (min === undefined && max === undefined)
      throw new XTransformersError('invalid_argument', 'clamp needs { min }, { max } or both')
    return this.run('clamp', [], { min, max })
  }

  /** Where this is NaN, as `bool`. */
  isnan(): T {
    return this.run('isnan', [])
  }

  /** Where this is infinite, as `bool`. */
  isinf(): T {
    return this.run('isinf', [])
  }

  /** Where this is neither infinite nor NaN, as `bool`. */
  isfinite(): T {
    return this.run('isfinite', [])
  }

  /** A copy with its own memory, through which gradients pass. */
  clone(): T {
    return this.run('clone', [])
  }
}
