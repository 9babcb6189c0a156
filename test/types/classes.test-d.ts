// Checked by `tsc --noEmit`: arguments and results of the calls of each class.
import {
  Attention,
  type AttentionIntermediates,
  AutoregressiveWrapper,
  type Cacheable,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  CrossAttender,
  Decoder,
  describe,
  Encoder,
  type LayerIntermediates,
  type Losses,
  load,
  type ModelDescription,
  type Module,
  NonAutoregressiveWrapper,
  type Quantization,
  type Tensor,
  TransformerWrapper,
  ViTransformerWrapper,
  XTransformer,
} from 'x-transformers'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is =
  <Want>() =>
  <Got>(_: Got, ..._same: Equal<Got, Want> extends true ? [] : [error: 'not that type']) => {}

declare const x: Tensor
declare const flag: boolean
declare const signal: AbortSignal

const encoder = new Encoder({ dim: 8, depth: 1, shift_tokens: [1, 0], layer_dropout: [0.1, 0] })
const decoder = new Decoder({
  dim: 8,
  depth: 1,
  cross_attend: true,
  custom_layers: ['a', 'c', 'f'],
})
const net = new TransformerWrapper({ num_tokens: 4, max_seq_len: 8, attn_layers: encoder })

is<TransformerWrapper>()(net.quantize('q8_0'))
is<Quantization | null>()(net.quantization)
// @ts-expect-error: no such format
net.quantize('q5_1')

const cross = new CrossAttender({ dim: 8, depth: 1 })
is<Tensor>()(await cross.forward(x, { context: x, mask: x, context_mask: x }))
is<[Tensor, LayerIntermediates]>()(cross.forwardSync(x, { context: x, return_hiddens: true }))

const attention = new Attention({ dim: 8, causal: true })
is<[Tensor, AttentionIntermediates]>()(await attention.forward(x, { context: x, mem: x }))

const vit = new ViTransformerWrapper({ image_size: 8, patch_size: 4, attn_layers: encoder })
is<Tensor>()(await vit.forward(x))
is<Tensor>()(await vit.forward(x, { return_embeddings: true, signal }))
is<Encoder>()(vit.attn_layers)

const continuous = new ContinuousTransformerWrapper({
  dim_in: 2,
  dim_out: 2,
  max_seq_len: 8,
  attn_layers: decoder,
})
is<Tensor>()(await continuous.forward(x, { return_embeddings: true }))
is<[Tensor, LayerIntermediates]>()(await continuous.forward(x, { return_intermediates: true }))
is<[Tensor, Tensor[]]>()(continuous.forwardSync(x, { return_attn: true }))
is<Encoder | Decoder>()(continuous.attn_layers)

const vectors = new ContinuousAutoregressiveWrapper(continuous)
is<Tensor>()(await vectors.forward(x, { mask: x }))
is<Tensor>()(await vectors.generate(x, 17))
is<ContinuousTransformerWrapper>()(vectors.net)
is<Cacheable>()(vectors.cacheable)

const masked = new NonAutoregressiveWrapper(net, {
  mask_id: 3,
  schedule: 'cosine',
  token_critic: net,
})
is<Losses>()(await masked.forward(x))
is<Losses>()(masked.forwardSync(x, { only_train_generator: true }))
is<Losses<Tensor | null>>()(await masked.forward(x, { only_train_critic: true }))
is<Losses<Tensor | null>>()(await masked.forward(x, { only_train_critic: flag }))
is<Tensor | null>()((await masked.forward(x)).critic_loss)
is<Tensor>()(await masked.generate({ batch_size: 2, filter_thres: null, signal }))
is<TransformerWrapper>()(masked.net)
is<TransformerWrapper | null>()(masked.token_critic)

const both = new XTransformer({
  dim: 8,
  enc_num_tokens: 4,
  enc_max_seq_len: 8,
  enc_depth: 1,
  dec_num_tokens: 4,
  dec_max_seq_len: 8,
  dec_depth: 1,
  dec_cross_residual_attn: true,
})
is<Tensor>()(await both.forward(x, x, { mask: x, attn_mask: x, src_prepend_embeds: x, signal }))
is<Tensor>()(await both.generate(x, x, 3, { mask: x, temperature: 0.5, eos_token: 1 }))
for await (const token of both.stream(x, x, 3)) is<number>()(token)
for await (const tokens of both.stream<number[]>(x, x, 3, { signal })) is<number[]>()(tokens)

is<Cacheable>()(both.cacheable)
is<boolean>()(both.cacheable.cached)
is<string | null>()(new AutoregressiveWrapper(net).cacheable.reason)

is<Module>()(await load('file'))
is<XTransformer>()(await load<XTransformer>('file', { device: 'cpu' }))
is<ModelDescription>()(describe(both))

// @ts-expect-error: a wrapper over tokens takes a model over tokens
new AutoregressiveWrapper(continuous)
// @ts-expect-error: mask_id is required
new NonAutoregressiveWrapper(net, {})
// @ts-expect-error: the decoder has no memory tokens of its own
new XTransformer({ ...both.options, dec_num_memory_tokens: 4 })
// @ts-expect-error: a layer is 'a', 'c' or 'f'
new Decoder({ dim: 8, depth: 1, custom_layers: ['x'] })
// @ts-expect-error: causal is fixed in a Decoder
new Decoder({ dim: 8, depth: 1, causal: true })
both.generate(x, x, 3, { src_prepend_embeds: x })
// @ts-expect-error: masked generation computes all tokens at every step and has no cache
masked.cacheable
// @ts-expect-error: an encoder gives no losses
masked.forward(x).then(({ losses }) => losses)
