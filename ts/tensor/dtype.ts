/** Types of elements, and shapes: what is known of a tensor before there is one. */
import { describeValue, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { DType } from '../native/native.js'

export const DTYPES: readonly DType[] = ['f32', 'f64', 'f16', 'bf16', 'i64', 'u8', 'bool']

const FLOATS: readonly DType[] = ['f32', 'f64', 'f16', 'bf16']

export const isFloat = (dtype: DType) => FLOATS.includes(dtype)

/** How many elements a tensor of this shape has. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** As many axes as PyTorch's tensors have. */
export const MAX_AXES = 64

/** Checks the type of a tensor's elements. */
export function checkDType(value: unknown): DType {
  if ((DTYPES as readonly unknown[]).includes(value)) return value as DType
  throw refuse('dtype', `one of ${DTYPES.join(', ')}`, value, 'invalid_tensor')
}

/** Anything in an array, in words. */
export const listed = (values: readonly unknown[]): string =>
  `[${Array.from(values, describeValue).join(', ')}]`

/** Checks the lengths of axes. `wildcard`: one of them may be -1. */
export function checkShape(shape: unknown, wildcard = false): number[] {
  const least = wildcard ? -1 : 0
  if (Array.isArray(shape) && shape.length > MAX_AXES) {
    const message = `a tensor has at most ${MAX_AXES} axes, got ${shape.length} axes`
    throw new XTransformersError('invalid_tensor', message)
  }
  // a copy, in which holes are `undefined`: `every` would pass over them
  const axes: unknown[] | null = Array.isArray(shape) ? Array.from(shape) : null
  if (axes?.every((n) => Number.isSafeInteger(n) && (n as number) >= least)) return axes as number[]
  const got = axes ? listed(axes) : describeValue(shape)
  const wanted = `a shape is an array of whole numbers from ${least}, such as [2, 3]`
  throw new XTransformersError('invalid_tensor', `${wanted}, got ${got}`)
}
