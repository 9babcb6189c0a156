// Checked by `tsc --noEmit`: the library in a worker has the same arguments and results as the main
// one, with copies as tensors.
import type { Tensor } from 'x-transformers'
import {
  type AdamW,
  type AutoregressiveWrapper,
  type Cacheable,
  type Decoder,
  type Encoder,
  type HostTensor,
  type Library,
  type Quantization,
  type RemoteModel,
  type StepResult,
  spawn,
  type TransformerWrapper,
  tensor,
} from 'x-transformers/worker'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is =
  <Want>() =>
  <Got>(_: Got, ..._same: Equal<Got, Want> extends true ? [] : [error: 'not that type']) => {}

declare const main: Tensor
declare const flag: boolean
declare const signal: AbortSignal

const x: Library = await spawn({
  threads: 'auto',
  on_progress: ({ loaded, total }) => [loaded, total],
  signal,
})
const tokens: HostTensor = tensor([[1, 2]], { dtype: 'i64' })

const decoder: Decoder = new x.Decoder({ dim: 8, depth: 1, attn_talking_heads: true })
const encoder: Encoder = new x.Encoder({ dim: 8, depth: 1 })
const net: TransformerWrapper = new x.TransformerWrapper({
  num_tokens: 4,
  max_seq_len: 8,
  attn_layers: decoder,
})
const model: AutoregressiveWrapper = new x.AutoregressiveWrapper(net, { mask_prob: 0.1 })
is<Encoder | Decoder>()(net.attn_layers)
is<TransformerWrapper>()(model.net)
is<AutoregressiveWrapper>()(await model.ready)
is<Cacheable>()(await model.cacheable())

interface Attentions {
  pre_softmax_attn: HostTensor
  post_softmax_attn: HostTensor
}
interface Intermediates {
  hiddens: HostTensor[]
  attn_intermediates: { [K in keyof Attentions]: Attentions[K] }[]
}
type Flat<T> = { [K in keyof T]: T[K] }

const { log_probs, perplexity } = await model.score(tokens, { mask: tokens, signal })
is<HostTensor[]>()([log_probs, perplexity])
is<HostTensor>()(await model.generate(tokens, 3, { num_beams: 2, eos_token: [1, 2] }))

// results follow the flags
is<HostTensor>()(await decoder.forward(tokens))
is<HostTensor>()(await net.forward(tokens))
is<HostTensor>()(
  await net.forward(main, { mask: tokens, context: main, return_mems: false, signal }),
)
is<HostTensor>()(await net.forward(tokens, { return_embeddings: true }))
is<[logits: HostTensor, embeddings: HostTensor]>()(
  await net.forward(tokens, { return_logits_and_embeddings: true }),
)
is<[HostTensor, HostTensor[]]>()(
  await net.forward(tokens, { return_mems: true, mems: [tokens, main] }),
)
is<[HostTensor, HostTensor[]]>()(await net.forward(tokens, { return_attn: true }))
const [hidden, intermediates] = await decoder.forward(tokens, { return_hiddens: true })
is<HostTensor>()(hidden)
is<HostTensor[]>()(intermediates.hiddens)
const seen: Flat<Intermediates> = intermediates
const either: unknown = await net.forward(tokens, { return_mems: flag })

const attention = new x.Attention({ dim: 8, causal: true })
const [y, { post_softmax_attn }] = await attention.forward(tokens, { mem: tokens })
is<HostTensor>()(y)
is<HostTensor>()(post_softmax_attn)

const masked = new x.NonAutoregressiveWrapper(net, { mask_id: 3, token_critic: net })
const { loss, critic_loss } = await masked.forward(tokens)
is<HostTensor>()(loss)
is<HostTensor | null>()(critic_loss)
is<TransformerWrapper | null>()(masked.token_critic)
is<HostTensor>()(await masked.generate({ batch_size: 2, signal }))

is<HostTensor>()(await model.forward(tokens))
is<HostTensor>()(
  await model.generate(tokens, 3, { temperature: 0.5, filter_logits_fn: 'top_p', signal }),
)
for await (const token of model.stream(tokens, 3, { signal })) is<number>()(token)
for await (const row of model.stream<number[]>(main, 3)) is<number[]>()(row)

const vit = new x.ViTransformerWrapper({
  image_size: 8,
  patch_size: 4,
  num_classes: 2,
  attn_layers: encoder,
})
const optimizer: AdamW = new x.AdamW(model, { lr: 1, betas: [0.9, 0.99] })
new x.AdamW([{ model, params: ['a'], weight_decay: 0 }, { model: vit }], { lr: 1 })
is<StepResult>()(
  await x.trainStep({ model, optimizer, batches: [[tokens], [main, { mask: tokens }]], signal }),
)
await x.trainStep({
  model: vit,
  optimizer,
  batches: [[tokens]],
  objective: { cross_entropy: [tokens], ignore_index: -1 },
})
await optimizer.setOptions({ lr: 1, weight_decay: 0 }, 0)

is<void>()(await net.quantize('bf16'))
is<Quantization | null>()(await net.quantization())
// @ts-expect-error: no such format
net.quantize('f16')

is<RemoteModel>()(await x.load('/model.safetensors'))
is<AutoregressiveWrapper>()(
  await x.load<AutoregressiveWrapper>(new Uint8Array(8), { transfer: true, signal }),
)
const models: RemoteModel[] = [decoder, net, model, vit]

// @ts-expect-error: an option that does not exist
new x.Decoder({ dim: 8, depth: 1, head: 8 })
// @ts-expect-error: a required option
new x.Decoder({ dim: 8 })
// @ts-expect-error: a wrapper takes models of the worker
new x.TransformerWrapper({ num_tokens: 4, max_seq_len: 8, attn_layers: { dim: 8 } })
const vectors = new x.ContinuousTransformerWrapper({ max_seq_len: 8, attn_layers: decoder })
// @ts-expect-error: a wrapper over tokens takes a model over tokens
new x.AutoregressiveWrapper(vectors)
// @ts-expect-error: an argument that does not exist
net.forward(tokens, { maks: tokens })
net.forward([[1, 2]], { mask: [[true, false]] })
model.generate(Int32Array.of(1, 2), 3)
// @ts-expect-error: ids are numbers
net.forward([['1', '2']])
// @ts-expect-error: a function cannot be sent to a worker
model.generate(tokens, 3, { filter_logits_fn: (logits: HostTensor) => logits })
// @ts-expect-error: encoders do not generate
vit.generate(tokens, 3)
// @ts-expect-error: an optimizer takes models
new x.AdamW([tokens])
// @ts-expect-error: an option of another optimizer
new x.AdamW(model, { momentum: 1 })
// @ts-expect-error: batches are lists of arguments
x.trainStep({ model, optimizer, batches: [tokens] })
// @ts-expect-error: there is no graph for backward
loss.backward()

export { either, models, seen }
