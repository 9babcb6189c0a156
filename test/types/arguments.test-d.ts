// Checked by `tsc --noEmit`: arrays as tensors.
import {
  type AutoregressiveWrapper,
  arange,
  crossEntropy,
  type Decoder,
  type Ids,
  type Mask,
  type Tensor,
  type TransformerWrapper,
  type Vectors,
  where,
  type XTransformer,
} from 'x-transformers'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is =
  <Want>() =>
  <Got>(_: Got, ..._same: Equal<Got, Want> extends true ? [] : [error: 'not that type']) => {}

declare const x: Tensor
declare const net: TransformerWrapper
declare const model: AutoregressiveWrapper
declare const both: XTransformer
declare const decoder: Decoder

// ids
const rows: readonly (readonly number[])[] = [[1, 2]]
is<Tensor>()(await net.forward(rows))
is<Tensor>()(await net.forward([[1n, 2n]], { pos: [0, 1], return_mems: false }))
is<[Tensor, Tensor[]]>()(await net.forward([[1, 2]], { return_mems: true }))
is<Tensor>()(await model.generate([1, 2, 3], 10))
is<Tensor>()(await model.generate(Uint16Array.of(1), 10))
is<Tensor>()(model.forwardSync([[1, 2]]))
is<Tensor>()(await both.forward([[1]], [[2]], { mask: [[true]] }))
model.stream([1, 2], 3)
model.score([[1, 2]], { mask: [[1, 0]] })
is<Tensor>()(crossEntropy(x, [1, 2]))
is<Tensor>()(x.gather(0, [[1]]))
const given: Ids[] = [x, [1], [[[1]]], new BigInt64Array(1), new BigUint64Array(1)]
// @ts-expect-error: floating-point numbers are not ids
net.forward(new Float32Array(1))
// @ts-expect-error: a number is not a sequence
model.generate(1, 10)

// masks
const masks: Mask[] = [x, [true], [[1, 0]], new Uint8Array(1)]
is<Tensor>()(where([true, false], 1, 2))
// @ts-expect-error: strings are not a mask
net.forward(rows, { mask: ['a'] })

// vectors
const vectors: Vectors[] = [x, [[[0.5]]], new Float32Array(1)]
is<Tensor>()(await decoder.forward([[[1, 2]]]))

// arange
is<Tensor>()(arange(5))
is<Tensor>()(arange(5, { dtype: 'f32' }))
is<Tensor>()(arange(0, 5, 2, { dtype: 'f32' }))
// @ts-expect-error: not a number
arange()

export { given, masks, vectors }
