// Checked by `tsc --noEmit`: the type of a result follows the flags of the call.
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  Encoder,
  type LayerIntermediates,
  Module,
  type Score,
  type Tensor,
  TransformerWrapper,
  tensor,
} from 'x-transformers'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is =
  <Want>() =>
  <Got>(_: Got, ..._same: Equal<Got, Want> extends true ? [] : [error: 'not that type']) => {}

declare const x: Tensor
declare const flag: boolean
declare const signal: AbortSignal

const decoder = new Decoder({ dim: 8, depth: 1, attn_talking_heads: true })
const net = new TransformerWrapper({ num_tokens: 4, max_seq_len: 8, attn_layers: decoder })
const model = new AutoregressiveWrapper(net, { mask_prob: 0.1 })

is<Tensor>()(await decoder.forward(x))
is<Tensor>()(await decoder.forward(x, { context: x }))
is<[Tensor, LayerIntermediates]>()(await decoder.forward(x, { return_hiddens: true }))

is<Tensor>()(await net.forward(x))
is<Tensor>()(await net.forward(x, { mask: x, return_mems: false, signal }))
is<Tensor>()(await net.forward(x, { return_embeddings: true }))
is<[logits: Tensor, embeddings: Tensor]>()(
  await net.forward(x, { return_logits_and_embeddings: true }),
)
is<[Tensor, Tensor[]]>()(await net.forward(x, { return_mems: true, mems: [x] }))
is<[Tensor, Tensor[]]>()(await net.forward(x, { return_attn: true }))
is<[Tensor, LayerIntermediates]>()(
  await net.forward(x, { return_intermediates: true, return_embeddings: true }),
)
is<[Tensor, LayerIntermediates]>()(net.forwardSync(x, { return_intermediates: true }))
is<[Tensor, LayerIntermediates]>()(
  await net.forward(x, { return_embeddings_and_intermediates: true }),
)
is<Tensor>()(net.forwardSync(x))
// a flag known only at runtime: the union of all results
const either: unknown = await net.forward(x, { return_mems: flag })

is<Tensor>()(await model.forward(x))
is<[loss: Tensor, logits: Tensor]>()(await model.forward(x, { return_outputs: true }))
is<[loss: Tensor, logits: Tensor]>()(model.forwardSync(x, { return_outputs: true, lens: [1] }))
is<Tensor>()(
  await model.generate(x, 3, {
    temperature: 0.5,
    filter_logits_fn: (logits) => logits.mul(2),
    signal,
  }),
)
is<Tensor>()(
  await model.generate(x, 3, {
    num_beams: 2,
    num_return_sequences: 2,
    eos_token: [1, 2],
    length_penalty: 1,
  }),
)
is<Tensor>()(
  model.generateSync(x, 3, { top_k_tokens: 2, nucleus_p: 0.5, min_p: null, seed: 1, eos_token: 1 }),
)
is<Score>()(await model.score(x, { mask: x, ignore_pad: true, signal }))
is<Tensor>()(model.scoreSync(x).log_probs)
for await (const token of model.stream(x, 3, { seed: 1 })) is<number>()(token)
for await (const tokens of model.stream<number[]>(x, 3)) is<number[]>()(tokens)

new AdamW(model.parameters(), { betas: [0.9, 0.99] })
new AdamW([{ params: model.parameters(), weight_decay: 0 }], { lr: 1 })

class Own extends Module<{ size: number }> {
  encoder = new Encoder({ dim: 8, depth: 1 })
  forward(x: Tensor, scale: number): Promise<Tensor> {
    return this.encoder.forward(x.mul(scale))
  }
}
is<Tensor>()(await new Own({ size: 1 }).forward(x, 2))
const modules: Module[] = [decoder, net, model, new Own()]

// @ts-expect-error: an option that does not exist
new Decoder({ dim: 8, depth: 1, head: 8 })
// @ts-expect-error: a required option
new Decoder({ dim: 8 })
// @ts-expect-error: an argument that does not exist
net.forward(x, { maks: x })
// @ts-expect-error: a stream has no beams
model.stream(x, 3, { num_beams: 2 })
// @ts-expect-error: a filter that does not exist
model.generate(x, 3, { filter_logits_fn: 'topk' })
// @ts-expect-error: a type of elements that does not exist
tensor([1], { dtype: 'float32' })
// @ts-expect-error: the Sync variant has no signal
net.forwardSync(x, { signal })

export { either, modules }
