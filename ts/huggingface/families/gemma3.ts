/** Gemma 3, text alone. Source: <https://arxiv.org/abs/2503.19786>. */
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
import type { Problems } from '../config/read.js'
import { longest, ROTARY, type RotaryConfig, rotaryByKind } from '../config/rotary.js'
import { above0, family, perLayer } from './family.js'
import { embeddingScale } from './gemma.js'
import { capped, SANDWICHED } from './gemma2.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, TIED } from './llama.js'
import { QK_NORMS } from './qwen3.js'

/** The positions of both kinds of layers. */
const positions = (c: RotaryConfig & { rope_local_base_freq: number | null }, problems: Problems) =>
  rotaryByKind(c, problems, {
    full_attention: { theta: 1e6 },
    sliding_attention: { theta: c.rope_local_base_freq ?? 10_000 },
  })

export const gemma3 = family({
  name: 'Gemma 3',
  types: ['gemma3_text'],
  classes: ['Gemma3ForCausalLM', 'Gemma3TextModel'],
  fields: {
    vocab_size: size(262_208),
    hidden_size: size(2304),
    intermediate_size: size(9216),
    num_hidden_layers: count(26),
    num_attention_heads: count(8),
    num_key_value_heads: nullable(count(1), 4),
    head_dim: nullable(size(1), 256),
    max_position_embeddings: size(131_072),
    query_pre_attn_scalar: positive(256),
    sliding_window: nullable(size(1), 4096),
    sliding_window_pattern: nullable(size(1)),
    _sliding_window_pattern: size(6),
    layer_types: nullable(list(text(''))),
    rope_local_base_freq: nullable(positive(1)),
    attn_logit_softcapping: nullable(positive(1)),
    final_logit_softcapping: nullable(positive(1)),
    hidden_activation: activation('gelu_pytorch_tanh'),
    // what the class does not read
    hidden_act: text(''),
    rms_norm_eps: positive(1e-6),
    attention_bias: flag(false),
    attention_dropout: dropout(0),
    tie_word_embeddings: flag(true),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longest(positions(c, problems).full_attention, c.max_position_embeddings),
    emb_scale: embeddingScale(c.hidden_size),
    tie_embedding: tied,
    logits_bias: false,
    logit_softclamp_value: c.final_logit_softcapping,
  }),
  layers(c, problems) {
    const rotary = positions(c, problems)
    const pattern = c.sliding_window_pattern ?? c._sliding_window_pattern
    const sliding = (n: number) => (n + 1) % pattern !== 0
    const layers = layerTypes(c.layer_types, c.num_hidden_layers, sliding, problems)
    // another type is a problem already
    const rotaries = layers.map((type) =>
      type === 'sliding_attention' ? rotary.sliding_attention : rotary.full_attention,
    )
    return {
      dim: c.hidden_size,
      depth: c.num_hidden_layers,
      ...headsOf(c, problems),
      ...windows(layers, c.sliding_window),
      attn_qkv_bias: c.attention_bias,
      attn_out_bias: c.attention_bias,
      attn_scale: c.query_pre_attn_scalar ** -0.5,
      attn_qk_rmsnorm: true,
      attn_qk_rmsnorm_shared: true,
      attn_qk_rmsnorm_eps: c.rms_norm_eps,
      attn_qk_rmsnorm_add_unit_offset: true,
      ...capped(c.attn_logit_softcapping),
      ...above0('attn_dropout', c.attention_dropout),
      use_rmsnorm: true,
      norm_eps: c.rms_norm_eps,
      norm_add_unit_offset: true,
      norm_position: 'sandwich',
      pre_norm_has_final_norm: true,
      rotary_pos_emb: true,
      rotary_values: false,
      rotary_base: perLayer(rotaries.map((one) => one.rotary_base)),
      rotary_scaling: perLayer(rotaries.map((one) => one.rotary_scaling)),
      rotary_partial_factor: rotary.full_attention.rotary_partial_factor,
      ff_glu: true,
      ff_activation: c.hidden_activation,
      ff_inner_dim: c.intermediate_size,
      ff_no_bias: true,
      ff_glu_bias: false,
    }
  },
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...SANDWICHED, ...ATTENTION, ...QK_NORMS, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
