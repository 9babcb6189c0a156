import {
  Attention,
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  CrossAttender,
  Decoder,
  Dropout,
  Embedding,
  Encoder,
  FeedForward,
  LayerNorm,
  Linear,
  type Module,
  NonAutoregressiveWrapper,
  RMSNorm,
  type Tensor,
  TransformerBlock,
  TransformerWrapper,
  tensor,
  ViTransformerWrapper,
  XTransformer,
} from 'x-transformers'
import { ids } from './helpers.js'

/** Options of every stack of these small models; with dropout, so that the mode has an effect. */
const BLOCK = { dim: 16, heads: 2, attn_dim_head: 8, attn_dropout: 0.3 }
const LAYERS = { ...BLOCK, depth: 1 }
const TOKENS = { num_tokens: 11, max_seq_len: 8 }

export const encoder = () => new Encoder(LAYERS)
export const decoder = (cross_attend = false) => new Decoder({ ...LAYERS, cross_attend })
export const masked = (logits_dim: number | null = null) =>
  new TransformerWrapper({ ...TOKENS, attn_layers: encoder(), logits_dim })
export const continuous = () =>
  new ContinuousTransformerWrapper({
    dim_in: 3,
    dim_out: 3,
    max_seq_len: 8,
    attn_layers: decoder(),
  })
export const vit = (num_classes: number | null = null) =>
  new ViTransformerWrapper({ image_size: 8, patch_size: 4, num_classes, attn_layers: encoder() })
export const xTransformer = () =>
  new XTransformer({
    dim: 16,
    tie_token_emb: true,
    enc_num_tokens: 11,
    enc_max_seq_len: 8,
    enc_depth: 1,
    enc_heads: 2,
    enc_attn_dropout: 0.3,
    dec_num_tokens: 11,
    dec_max_seq_len: 8,
    dec_depth: 1,
    dec_heads: 2,
    dec_attn_dropout: 0.3,
  })

/** Fixed values that a norm does not make 0. */
const waves = (shape: number[]) =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i + 1)),
    { shape },
  )

/** `Module.forward` of any class with any arguments. */
type Run = (model: Module) => Promise<Tensor>
const x = waves([1, 4, 16])
const run =
  (...args: unknown[]): Run =>
  async (model) =>
    (await model.forward(...args)) as Tensor

/** Every class: a small model, and a computation with it. */
export const ZOO: Record<string, [make: () => Module, run: Run]> = {
  Encoder: [encoder, run(x)],
  Decoder: [decoder, run(x)],
  TransformerBlock: [
    () => new TransformerBlock({ ...BLOCK, causal: true, attn_num_mem_kv: 1 }),
    run(x),
  ],
  CrossAttender: [() => new CrossAttender(LAYERS), run(x, { context: waves([1, 3, 16]) })],
  Attention: [
    () => new Attention({ dim: 16, heads: 2, dim_head: 8, dropout: 0.3 }),
    async (model) => ((await model.forward(x)) as [Tensor])[0],
  ],
  TransformerWrapper: [
    () => new TransformerWrapper({ ...TOKENS, attn_layers: decoder() }),
    run(ids(2, 8)),
  ],
  ContinuousTransformerWrapper: [continuous, run(waves([1, 8, 3]))],
  ViTransformerWrapper: [() => vit(5), run(waves([1, 3, 8, 8]))],
  XTransformer: [xTransformer, run(ids(2, 5), ids(2, 6))],
  AutoregressiveWrapper: [
    () => new AutoregressiveWrapper(new TransformerWrapper({ ...TOKENS, attn_layers: decoder() })),
    run(ids(2, 8)),
  ],
  ContinuousAutoregressiveWrapper: [
    () => new ContinuousAutoregressiveWrapper(continuous()),
    run(waves([1, 8, 3])),
  ],
  NonAutoregressiveWrapper: [
    () =>
      new NonAutoregressiveWrapper(masked(), { mask_id: 10, steps: 3, token_critic: masked(1) }),
    async (model) => ((await model.forward(ids(2, 8))) as { loss: Tensor }).loss,
  ],
}

/** The single layers, which a user's own models consist of. */
export const PARTS: typeof ZOO = {
  Linear: [() => new Linear({ in_features: 16, out_features: 3 }), run(x)],
  Embedding: [() => new Embedding({ num_embeddings: 11, embedding_dim: 4 }), run(ids(2, 8))],
  LayerNorm: [() => new LayerNorm({ normalized_shape: 16 }), run(x)],
  RMSNorm: [() => new RMSNorm({ normalized_shape: [4, 16] }), run(x)],
  Dropout: [() => new Dropout({ p: 0.3 }), run(x)],
  FeedForward: [() => new FeedForward({ dim: 16, glu: true, dropout: 0.3 }), run(x)],
}
