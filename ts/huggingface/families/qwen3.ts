/** Qwen 3, without its mixtures of experts. Source: <https://arxiv.org/abs/2505.09388>. */
import { headsOf, layerTypes, windows } from '../config/attention.js'
import {
  activation,
  count,
  dropout,
  flag,
  list,
  nullable,
  positive,
  size,
  text,
  wholeFrom0,
} from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import type { Rule } from '../weights/rules.js'
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, NORMS, TIED } from './llama.js'

/** Norms of queries and keys: the same scales for all heads. */
export const QK_NORMS: readonly Rule[] = [
  ['model.layers.{n}.self_attn.q_norm.weight', 'attn_layers.layers.{2n}.1.q_rmsnorm.weight'],
  ['model.layers.{n}.self_attn.k_norm.weight', 'attn_layers.layers.{2n}.1.k_rmsnorm.weight'],
]

export const qwen3 = family({
  name: 'Qwen 3',
  types: ['qwen3'],
  classes: ['Qwen3ForCausalLM', 'Qwen3Model'],
  fields: {
    vocab_size: size(151_936),
    hidden_size: size(4096),
    intermediate_size: size(22_016),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1), 32),
    head_dim: nullable(size(1), 128),
    max_position_embeddings: size(32_768),
    use_sliding_window: flag(false),
    sliding_window: nullable(size(1), 4096),
    max_window_layers: wholeFrom0(28),
    layer_types: nullable(list(text(''))),
    hidden_act: activation('silu'),
    rms_norm_eps: positive(1e-6),
    attention_bias: flag(false),
    attention_dropout: dropout(0),
    tie_word_embeddings: flag(false),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longestOf(c, problems),
    tie_embedding: tied,
    logits_bias: false,
  }),
  layers(c, problems) {
    const sliding = (n: number) => c.use_sliding_window && n >= c.max_window_layers
    const layers = layerTypes(c.layer_types, c.num_hidden_layers, sliding, problems)
    return {
      dim: c.hidden_size,
      depth: c.num_hidden_layers,
      ...headsOf(c, problems),
      ...windows(layers, c.use_sliding_window ? c.sliding_window : null),
      attn_qkv_bias: c.attention_bias,
      attn_out_bias: c.attention_bias,
      attn_qk_rmsnorm: true,
      attn_qk_rmsnorm_shared: true,
      attn_qk_rmsnorm_eps: c.rms_norm_eps,
      ...above0('attn_dropout', c.attention_dropout),
      use_rmsnorm: true,
      norm_eps: c.rms_norm_eps,
      pre_norm_has_final_norm: true,
      rotary_pos_emb: true,
      rotary_values: false,
      ...rotaryOf(c, problems),
      ff_glu: true,
      ff_activation: c.hidden_act,
      ff_inner_dim: c.intermediate_size,
      ff_no_bias: true,
      ff_glu_bias: false,
    }
  },
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...NORMS, ...ATTENTION, ...QK_NORMS, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
