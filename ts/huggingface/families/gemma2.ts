/** Gemma 2. Source: <https://arxiv.org/abs/2408.00118>. */
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
} from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import type { Rule } from '../weights/rules.js'
import { above0, family } from './family.js'
import { embeddingScale } from './gemma.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, TIED } from './llama.js'

/** RMSNorms before and after attention and feed-forward, and at the end. */
export const SANDWICHED: readonly Rule[] = [
  ['model.layers.{n}.input_layernorm.weight', 'attn_layers.layers.{2n}.0.0.g'],
  ['model.layers.{n}.post_attention_layernorm.weight', 'attn_layers.layers.{2n}.0.1.g'],
  ['model.layers.{n}.pre_feedforward_layernorm.weight', 'attn_layers.layers.{2n+1}.0.0.g'],
  ['model.layers.{n}.post_feedforward_layernorm.weight', 'attn_layers.layers.{2n+1}.0.1.g'],
  ['model.norm.weight', 'attn_layers.final_norm.g'],
]

/** The limit of the scores of attention. */
export const capped = (limit: number | null) =>
  limit === null ? {} : { attn_softclamp_logits: true, attn_logit_softclamp_value: limit }

export const gemma2 = family({
  name: 'Gemma 2',
  types: ['gemma2'],
  classes: ['Gemma2ForCausalLM', 'Gemma2Model'],
  fields: {
    vocab_size: size(256_000),
    hidden_size: size(2304),
    intermediate_size: size(9216),
    num_hidden_layers: count(26),
    num_attention_heads: count(8),
    num_key_value_heads: nullable(count(1), 4),
    head_dim: nullable(size(1), 256),
    max_position_embeddings: size(8192),
    query_pre_attn_scalar: positive(256),
    sliding_window: nullable(size(1), 4096),
    layer_types: nullable(list(text(''))),
    attn_logit_softcapping: nullable(positive(50), 50),
    final_logit_softcapping: nullable(positive(30), 30),
    hidden_activation: activation('gelu_pytorch_tanh'),
    // what the class does not read
    hidden_act: text(''),
    sliding_window_size: nullable(size(4096)),
    rms_norm_eps: positive(1e-6),
    attention_bias: flag(false),
    attention_dropout: dropout(0),
    tie_word_embeddings: flag(true),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longestOf(c, problems),
    emb_scale: embeddingScale(c.hidden_size),
    tie_embedding: tied,
    logits_bias: false,
    logit_softclamp_value: c.final_logit_softcapping,
  }),
  layers(c, problems) {
    const sliding = (n: number) => n % 2 === 0
    const layers = layerTypes(c.layer_types, c.num_hidden_layers, sliding, problems)
    return {
      dim: c.hidden_size,
      depth: c.num_hidden_layers,
      ...headsOf(c, problems),
      ...windows(layers, c.sliding_window),
      attn_qkv_bias: c.attention_bias,
      attn_out_bias: c.attention_bias,
      attn_scale: c.query_pre_attn_scalar ** -0.5,
      ...capped(c.attn_logit_softcapping),
      ...above0('attn_dropout', c.attention_dropout),
      use_rmsnorm: true,
      norm_eps: c.rms_norm_eps,
      norm_add_unit_offset: true,
      norm_position: 'sandwich',
      pre_norm_has_final_norm: true,
      rotary_pos_emb: true,
      rotary_values: false,
      ...rotaryOf(c, problems),
      ff_glu: true,
      ff_activation: c.hidden_activation,
      ff_inner_dim: c.intermediate_size,
      ff_no_bias: true,
      ff_glu_bias: false,
    }
  },
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...SANDWICHED, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
