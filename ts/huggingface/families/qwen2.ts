/** Qwen 2 and 2.5. Source: <https://arxiv.org/abs/2407.10671>. */
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
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, NORMS, TIED } from './llama.js'

export const qwen2 = family({
  name: 'Qwen 2',
  types: ['qwen2'],
  classes: ['Qwen2ForCausalLM', 'Qwen2Model'],
  fields: {
    vocab_size: size(151_936),
    hidden_size: size(4096),
    intermediate_size: size(22_016),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1), 32),
    max_position_embeddings: size(32_768),
    use_sliding_window: flag(false),
    sliding_window: nullable(size(1), 4096),
    max_window_layers: wholeFrom0(28),
    layer_types: nullable(list(text(''))),
    hidden_act: activation('silu'),
    rms_norm_eps: positive(1e-6),
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
      attn_qkv_bias: true,
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
  weights: () => [...EMBEDDINGS, ...NORMS, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
