import { checkOptions } from '../checks.js'
import { full, ones, rand, randn, type TensorOptions, zeros } from './creation.js'
import { checkTensor, type Tensor } from './tensor.js'

/** Shape and options of a tensor like `x`; its type and device, unless the options say others. */
function like(x: Tensor, given: TensorOptions | undefined, name: string) {
  const { shape, dtype, device } = checkTensor(x, `what ${name} takes`)
  const own = checkOptions(given, `${name}()`, ['dtype', 'device', 'requires_grad'])
  const options = { ...own, dtype: own.dtype ?? dtype, device: own.device ?? device }
  return { shape, options }
}

/**
 * A tensor of zeros with the shape, the type and the device of another one.
 *
 * @example
 * zerosLike(x, { dtype: 'bool' })
 */
export function zerosLike(x: Tensor, options?: TensorOptions): Tensor {
  const of = like(x, options, 'zerosLike')
  return zeros(of.shape, of.options)
}

/** A tensor of ones with the shape, the type and the device of another one. */
export function onesLike(x: Tensor, options?: TensorOptions): Tensor {
  const of = like(x, options, 'onesLike')
  return ones(of.shape, of.options)
}

/**
 * A tensor with one value everywhere, and the shape, the type and the device of another one.
 *
 * @throws XTransformersError (`invalid_tensor`) where the type does not hold the value
 */
export function fullLike(x: Tensor, value: number, options?: TensorOptions): Tensor {
  const of = like(x, options, 'fullLike')
  return full(of.shape, value, of.options)
}

/**
 * Random numbers, uniform from 0 to below 1, with the shape, the type and the device of another
 * tensor.
 *
 * @throws XTransformersError (`invalid_tensor`) for whole numbers: pass another `dtype`
 */
export function randLike(x: Tensor, options?: TensorOptions): Tensor {
  const of = like(x, options, 'randLike')
  return rand(of.shape, of.options)
}

/**
 * Random numbers, normal with mean 0 and standard deviation 1, with the shape, the type and the
 * device of another tensor.
 *
 * @throws XTransformersError (`invalid_tensor`) for whole numbers: pass another `dtype`
 */
export function randnLike(x: Tensor, options?: TensorOptions): Tensor {
  const of = like(x, options, 'randnLike')
  return randn(of.shape, of.options)
}
