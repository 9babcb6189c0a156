/** How tensors of x-transformers 2 become weights of a model. Results may be views. */
import { tensor, zeros } from '../../tensor/creation.js'
import { cat } from '../../tensor/functions.js'
import type { Tensor } from '../../tensor/tensor.js'
import type { Weight } from './place.js'

/** The weight that a tensor of the file becomes; one that does not fit stays as it is. */
export type Change = (theirs: Tensor, at: Weight) => Tensor

/** A weight that the file does not have; undefined where it must have it. */
export type Make = (at: Weight) => Tensor | undefined

/** In half precision small numbers would be lost beside a larger one. */
const widened = (x: Tensor) => (x.dtype === 'f16' || x.dtype === 'bf16' ? x.cast('f32') : x)

/** `x` and a number for all elements; `x` itself for 0. */
const plus = (x: Tensor, number: number) => (number === 0 ? x : widened(x).add(number))

/** What is added to a weight of a norm: in the file, and in the model. */
const offsetIn = ({ place }: Weight) => (place.file.norm_add_unit_offset ? 1 : 0)
const offsetHere = ({ place }: Weight) => (place.flag('norm_add_unit_offset') ? 1 : 0)

/**
 * The weight of a norm. ScaleNorm of 2.x multiplies by sqrt(width) besides, which 1.9.2 has in the
 * weight.
 */
export const fromNorm: Change = (x, at) => {
  const { place } = at
  const scales = place.flag('use_scalenorm')
  const other = place.flag('use_rmsnorm') || place.flag('use_simple_rmsnorm')
  if (scales && !other && at.shape.length === 1 && at.shape[0] === 1)
    return plus(widened(x), offsetIn(at)).mul(Math.sqrt(place.width))
  return plus(x, offsetIn(at) - offsetHere(at))
}

/** The weight of a LayerNorm of a wrapper, in which 2.x adds nothing. */
export const fromOuterNorm: Change = (x, at) => plus(x, -offsetHere(at))

/** The factors of LayerScale, which have no offset in the model. */
export const fromScale: Change = (x, at) => plus(x, offsetIn(at))

/** The scales of queries or keys, (heads, 1, features) in the file, always added to 1 there. */
export const fromQkNorm =
  (queries: boolean): Change =>
  (x, at) => {
    const [heads, one, width] = x.shape
    if (x.shape.length !== 3 || one !== 1) return x
    const flat = x.reshape([heads as number, width as number])
    const here = at.place.flag('attn_qk_rmsnorm_add_unit_offset') ? 1 : 0
    return plus(queries ? byHead(0)(flat, at) : flat, 1 - here)
  }

/**
 * An axis of query heads, each with as many features as the axis has room for. In 2.x head n uses
 * the keys of head n mod count; here neighbouring heads share one.
 */
export const byHead =
  (axis: number): Change =>
  (x, at) => {
    const { queries: heads, keys } = at.place.headsOf(at.name)
    const size = x.shape[axis]
    if (keys === 1 || keys === heads || size === undefined || size % heads !== 0) return x
    const [before, after] = [x.shape.slice(0, axis), x.shape.slice(axis + 1)]
    const split = x.reshape([...before, heads / keys, keys, size / heads, ...after])
    return split.transpose(axis, axis + 1).reshape(x.shape)
  }

/** Zeros, where the file has none. */
export const zero: Make = ({ shape }) => zeros(shape)

/** The projection behind a single head that is as wide as the model: none in 2.x. */
export const identity: Make = ({ place, shape: [rows, columns] }) => {
  if (place.heads !== 1 || rows !== columns) return undefined
  const size = rows as number
  const ones = Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0))
  return tensor(ones, { shape: [size, size] })
}

/** Positions, (1, count, width), with zeros behind them where the model has one more. */
export const morePositions: Change = (x, { shape }) => {
  const [one, count, width] = shape as [number, number, number]
  if (x.shape.length !== 3 || x.shape[1] !== count - 1 || x.shape[2] !== width) return x
  return cat([x, zeros([one, 1, width], { device: x.device })], 1)
}
