/**
 * How tensors of a file become weights of a model, and weights tensors of a file again, to the last
 * bit. Each transform is of a few tensors on each side, whose order the names give.
 */
import { cat } from '../../tensor/functions.js'
import type { Tensor } from '../../tensor/tensor.js'

export type Shape = readonly number[]

/** A change of tensors that can be undone. Results may be views. */
export interface Transform {
  /** The shapes that the file must have, for those of the model. */
  shapes(ours: readonly Shape[]): Shape[]
  /** Weights of the model; `ours` are their shapes. */
  load(theirs: readonly Tensor[], ours: readonly Shape[]): Tensor[]
  /** Tensors of the file; `theirs` are their shapes. */
  save(ours: readonly Tensor[], theirs: readonly Shape[]): Tensor[]
}

const rowsOf = (shapes: readonly Shape[]) => shapes.map(([rows]) => rows as number)

/** The shape of tensors of one width below one another. */
const stacked = (shapes: readonly Shape[]): Shape => {
  const [, ...rest] = shapes[0] as Shape
  return [rowsOf(shapes).reduce((sum, rows) => sum + rows, 0), ...rest]
}

/** As it is. */
export const same: Transform = {
  shapes: (ours) => [...ours],
  load: (theirs) => [...theirs],
  save: (ours) => [...ours],
}

/** The rows of one tensor of the file are those of several weights, one below the other. */
export const splitRows: Transform = {
  shapes: (ours) => [stacked(ours)],
  load: ([whole], ours) => (whole as Tensor).split(rowsOf(ours), 0),
  save: (ours) => [cat(ours, 0)],
}

/** The rows of two tensors of the file, of one size, are those of one weight. */
export const joinRows: Transform = {
  shapes([whole]) {
    const [rows, ...rest] = whole as Shape
    const half = [(rows as number) / 2, ...rest]
    return [half, half]
  },
  load: (theirs) => [cat(theirs, 0)],
  save: ([whole], theirs) => (whole as Tensor).split(rowsOf(theirs), 0),
}

/** The two halves of the rows change places. */
export const swapHalves: Transform = {
  shapes: (ours) => [...ours],
  load: ([whole]) => [cat((whole as Tensor).chunk(2, 0).reverse(), 0)],
  save: ([whole]) => [cat((whole as Tensor).chunk(2, 0).reverse(), 0)],
}

const flipped = (shape: Shape): Shape => [...shape].reverse()
const turned = (x: Tensor) => (x.shape.length === 2 ? x.transpose() : x)

/**
 * A matrix that is (in, out) in the file, as in GPT-2's Conv1D, with another change of the rows
 * after it; vectors have the other change alone.
 */
export const transposed = (then: Transform = same): Transform => ({
  shapes: (ours) => then.shapes(ours).map(flipped),
  load: (theirs, ours) => then.load(theirs.map(turned), ours),
  save: (ours, theirs) => then.save(ours, theirs.map(flipped)).map(turned),
})

/**
 * The rows of one tensor of the file are, for each head, the rows of that head in each of several
 * weights: (heads, weights, features).
 */
export const splitByHead = (heads: number): Transform => ({
  shapes: (ours) => [stacked(ours)],
  load([whole], ours) {
    const [rows, ...rest] = (whole as Tensor).shape
    const features = (rows as number) / heads / ours.length
    const all = (whole as Tensor).reshape([heads, ours.length, features, ...rest])
    return ours.map((shape, i) => all.select(1, i).reshape(shape))
  },
  save(ours, [theirs]) {
    const [rows, ...rest] = theirs as Shape
    const features = (rows as number) / heads / ours.length
    const parts = ours.map((x) => x.reshape([heads, 1, features, ...rest]))
    return [cat(parts, 1).reshape(theirs as Shape)]
  },
})

/** The same elements in another shape. */
export const reshaped = (theirs: (ours: Shape) => Shape): Transform => ({
  shapes: ([ours]) => [theirs(ours as Shape)],
  load: ([x], [ours]) => [(x as Tensor).reshape(ours as Shape)],
  save: ([x], [theirs]) => [(x as Tensor).reshape(theirs as Shape)],
})

/**
 * The projection of patches: (width, channels, p, p) in the file, (width, p p channels) in the
 * model.
 */
export const patches = (channels: number): Transform => ({
  shapes([[width, columns] = [0, 0]]) {
    const side = Math.round(Math.sqrt((columns as number) / channels))
    return [[width as number, channels, side, side]]
  },
  load: ([x], [ours]) => [(x as Tensor).permute([0, 2, 3, 1]).reshape(ours as Shape)],
  save([x], [theirs]) {
    const [width, , side] = theirs as Shape
    const all = (x as Tensor).reshape([width, side, side, channels] as number[])
    return [all.permute([0, 3, 1, 2])]
  },
})
