import { checkInteger, checkList } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkShape, sizeOf } from './dtype.js'
import { type Axes, axesOf, axis } from './op-base.js'
import { ReductionOps } from './reductions.js'

const refused = (message: string) => new XTransformersError('invalid_tensor', message)

/** Operations that arrange elements. */
export abstract class ShapeOps<T extends ShapeOps<T>> extends ReductionOps<T> {
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
    return this.run('permute', [], { dims: axesOf(list, this.shape.length) })
  }

  /** Two axes swapped. */
  transpose(a = -2, b = -1): T {
    const dims = this.shape.map((_, i) => i)
    const [from, to] = [this.axis(a), this.axis(b)]
    dims[from] = to
    dims[to] = from
    return this.run('permute', [], { dims })
  }

  /**
   * The part from `start` to before `end` along an axis; negative ones count from the end, as in
   * Python.
   */
  slice(dim: number, start: number, end?: number): T {
    const at = this.axis(dim)
    const length = this.shape[at] as number
    const clip = (n: number) => Math.min(length, Math.max(0, n < 0 ? n + length : n))
    const from = clip(checkInteger(start, 'start'))
    const to = clip(checkInteger(end ?? length, 'end'))
    return this.run('slice', [], { dim: at, start: from, end: Math.max(from, to) })
  }

  /**
   * With a further axis of length 1 before axis `dim`; negative ones count from behind the last.
   *
   * @example
   * ones([2, 3]).unsqueeze(1).shape // [2, 1, 3]
   */
  unsqueeze(dim: number): T {
    const shape = [...this.shape]
    shape.splice(axis(dim, shape.length + 1), 0, 1)
    return this.reshape(shape)
  }

  /** Without the axes of length 1; of the given axes alone, where they have that length. */
  squeeze(dims?: Axes): T {
    const all = dims === undefined || dims === null
    const gone = all ? null : axesOf(dims, this.shape.length)
    return this.reshape(this.shape.filter((n, i) => n !== 1 || (gone && !gone.includes(i))))
  }

  /**
   * The axes from `start_dim` to `end_dim`, both included, as one.
   *
   * @example
   * ones([2, 3, 4]).flatten(1).shape // [2, 12]
   */
  flatten(start_dim = 0, end_dim = -1): T {
    if (this.shape.length === 0) return this.reshape([1])
    const [from, to] = [this.axis(start_dim), this.axis(end_dim)]
    if (from > to) throw refused(`flatten: axis ${start_dim} comes after axis ${end_dim}`)
    const one = sizeOf(this.shape.slice(from, to + 1))
    return this.reshape([...this.shape.slice(0, from), one, ...this.shape.slice(to + 1)])
  }

  /**
   * Axes of length 1 repeated to the lengths of `shape`, and further axes in front, without a copy;
   * -1 keeps a length.
   *
   * @example
   * ones([3, 1]).expand([2, -1, 4]).shape // [2, 3, 4]
   */
  expand(shape: readonly number[]): T {
    const wanted = checkShape(shape, true)
    const added = wanted.length - this.shape.length
    const sizes = wanted.map((n, i) => (n === -1 ? (this.shape[i - added] ?? -1) : n))
    const fits = this.shape.every((n, i) => n === 1 || n === sizes[i + added])
    if (added < 0 || sizes.includes(-1) || !fits)
      throw refused(`[${this.shape}] cannot be expanded to [${wanted}]`)
    return this.run('expand', [], { shape: checkShape(sizes) })
  }

  /**
   * Repeated this often along each axis; counts before those of the axes are of further axes in
   * front.
   *
   * @example
   * tensor([1, 2]).repeat([2, 2]).toArray() // [[1, 2, 1, 2], [1, 2, 1, 2]]
   */
  repeat(counts: readonly number[]): T {
    const list = checkShape(counts)
    if (list.length < this.shape.length)
      throw refused(`repeat: [${list}] has fewer counts than [${this.shape}] has axes`)
    return this.run('repeat', [], { shape: list })
  }

  /** `length` elements along an axis, from `start` on; a negative start counts from the end. */
  narrow(dim: number, start: number, length: number): T {
    const size = this.shape[this.axis(dim)] as number
    const from = checkInteger(start, 'start') < 0 ? start + size : start
    const to = from + checkInteger(length, 'length')
    if (from < 0 || to < from || to > size)
      throw refused(`narrow: ${length} elements from ${start} on, and axis ${dim} has ${size}`)
    return this.slice(dim, from, to)
  }

  /** The part at one index of an axis, without this axis; a negative one counts from the end. */
  select(dim: number, index: number): T {
    const at = this.axis(dim)
    const size = this.shape[at] as number
    const start = checkInteger(index, 'index') < 0 ? index + size : index
    if (start < 0 || start >= size)
      throw refused(`select: index ${index} is out of range for axis ${dim} with ${size} elements`)
    return this.run('select', [], { dim: at, start })
  }

  /** The parts at all indices of an axis, without this axis. */
  unbind(dim = 0): T[] {
    const count = this.shape[this.axis(dim)] as number
    return Array.from({ length: count }, (_, i) => this.select(dim, i))
  }

  /**
   * Parts along an axis: of `size` elements each, the last one of what is left; or of the lengths
   * in a list.
   *
   * @example
   * arange(7).split(3).map((part) => part.toArray()) // [[0, 1, 2], [3, 4, 5], [6]]
   * arange(7).split([2, 5]).map((part) => part.shape[0]) // [2, 5]
   */
  split(size: number | readonly number[], dim = 0): T[] {
    const count = this.shape[this.axis(dim)] as number
    if (typeof size === 'number') return this.parts(this.checkPart(size, 'size'), dim)
    const lengths = checkList(size, 'the lengths', 'whole numbers')
    for (const n of lengths)
      if (checkInteger(n, 'a length') < 0) throw refused(`split: ${n} is no length`)
    if (lengths.reduce((a, b) => a + b, 0) !== count)
      throw refused(`split: [${lengths}] is not ${count} in all, the length of axis ${dim}`)
    let end = 0
    return lengths.map((n) => {
      end += n
      return this.slice(dim, end - n, end)
    })
  }

  /**
   * An axis in this many parts of equal length, the last one shorter; fewer, where the length does
   * not give as many.
   *
   * @example
   * const [q, k, v] = (await this.toQkv.forward(x)).chunk(3, -1)
   */
  chunk(chunks: number, dim = 0): T[] {
    const count = this.shape[this.axis(dim)] as number
    const size = Math.ceil(count / this.checkPart(chunks, 'chunks'))
    // of nothing as many parts as asked for
    return size === 0 ? this.split(new Array(chunks).fill(0), dim) : this.parts(size, dim)
  }

  private checkPart(value: number, name: string): number {
    if (checkInteger(value, name) < 1) throw refused(`${name} must be at least 1, got ${value}`)
    return value
  }

  private parts(size: number, dim: number): T[] {
    const count = this.shape[this.axis(dim)] as number
    const number = Math.max(1, Math.ceil(count / size))
    return Array.from({ length: number }, (_, i) => this.slice(dim, i * size, (i + 1) * size))
  }

  /** The elements along these axes in reverse order. */
  flip(dims: Axes): T {
    return this.run('flip', [], { dims: axesOf(dims, this.shape.length) })
  }

  /**
   * With 0 above a diagonal of the last two axes; `diagonal` counts from the main one to the right.
   *
   * @example
   * const causal = ones([n, n], { dtype: 'bool' }).tril()
   */
  tril(diagonal = 0): T {
    return this.run('tril', [], { diagonal: checkInteger(diagonal, 'diagonal') })
  }

  /** With 0 below a diagonal of the last two axes, as {@link tril}. */
  triu(diagonal = 0): T {
    return this.run('triu', [], { diagonal: checkInteger(diagonal, 'diagonal') })
  }
}
