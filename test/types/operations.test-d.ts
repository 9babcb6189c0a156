// Checked by `tsc --noEmit`: arguments and results of tensor operations and of single layers.
import {
  Dropout,
  Embedding,
  FeedForward,
  LayerNorm,
  Linear,
  Module,
  RMSNorm,
  type Sorted,
  type Tensor,
  zerosLike,
} from 'x-transformers'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is =
  <Want>() =>
  <Got>(_: Got, ..._same: Equal<Got, Want> extends true ? [] : [error: 'not that type']) => {}

declare const x: Tensor
declare const mask: boolean[][]

is<Sorted<Tensor>>()(x.topk(5, -1, { largest: false }))
is<Tensor>()(x.sort(-1, { descending: true }).indices)
is<Tensor[]>()(x.split([1, 2], 1))
is<Tensor>()(x.std([0, 1], { correction: 0, keepdim: true }))
is<Tensor>()(x.norm(-1, { p: Infinity }))
is<Tensor>()(x.maskedFill(mask, -Infinity))
is<number>()(x.numel())
is<Tensor>()(zerosLike(x, { dtype: 'bool' }))

// @ts-expect-error: an object
x.clamp(0, 1)
// @ts-expect-error: the option is `correction`
x.std(0, { unbiased: false })
// @ts-expect-error: a list of counts
x.repeat(2)
// @ts-expect-error: `sort` gives values and indices
x.sort().add(1)

const linear = new Linear({ in_features: 3, out_features: 2, bias: false })
is<Promise<Tensor>>()(linear.forward([[1, 2, 3]]))
is<Tensor>()(linear.forwardSync(x))
is<Promise<Tensor>>()(new Embedding({ num_embeddings: 3, embedding_dim: 2 }).forward([1n, 2n]))
is<number | undefined>()(new Dropout().options.p)
is<boolean | undefined>()(new FeedForward({ dim: 8, relu_squared: true }).options.glu)
new LayerNorm({ normalized_shape: [3, 4], eps: 1e-6 })
new RMSNorm({ normalized_shape: 4, eps: null })

// @ts-expect-error: both widths are required
new Linear({ in_features: 3 })
// @ts-expect-error: PyTorch's RMSNorm has no bias
new RMSNorm({ normalized_shape: 4, bias: true })
// @ts-expect-error: indices are whole numbers
new Embedding({ num_embeddings: 3, embedding_dim: 2 }).forward(['1'])

class Own extends Module {
  head = linear
  async forward(value: Tensor): Promise<Tensor> {
    return (await this.head.forward(value)).softmax()
  }
}
is<Promise<Tensor>>()(new Own().forward(x))
