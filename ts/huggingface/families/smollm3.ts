/**
 * SmolLM 3: Llama, of which some layers have no positions.
 * Source: <https://huggingface.co/blog/smollm3>.
 */
import { headsOf, layerTypes } from '../config/attention.js'
import {
  activation,
  count,
  dropout,
  flag,
  list,
  nullable,
  only,
  positive,
  size,
  text,
  wholeFrom0,
} from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import { above0, family, perLayer } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, NORMS, TIED } from './llama.js'

const BASE = { theta: 2e6 }

export const smollm3 = family({
  name: 'SmolLM 3',
  types: ['smollm3'],
  classes: ['SmolLM3ForCausalLM', 'SmolLM3Model'],
  fields: {
    vocab_size: size(128_256),
    hidden_size: size(2048),
    intermediate_size: size(11_008),
    num_hidden_layers: count(36),
    num_attention_heads: count(16),
    num_key_value_heads: nullable(count(1), 4),
    max_position_embeddings: size(32_768),
    no_rope_layers: nullable(list(wholeFrom0(1))),
    no_rope_layer_interval: count(4),
    use_sliding_window: only(false),
    sliding_window: nullable(size(1)),
    // of the sliding layers, which there are none of
    max_window_layers: wholeFrom0(28),
    layer_types: nullable(list(text(''))),
    hidden_act: activation('silu'),
    rms_norm_eps: positive(1e-6),
    attention_bias: flag(false),
    mlp_bias: flag(false),
    attention_dropout: dropout(0),
    tie_word_embeddings: flag(true),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longestOf(c, problems, BASE),
    tie_embedding: tied,
    logits_bias: false,
  }),
  layers(c, problems) {
    const depth = c.num_hidden_layers
    // 1 where a layer has positions, whatever the name says
    const marks =
      c.no_rope_layers ??
      Array.from({ length: depth }, (_, n) => ((n + 1) % c.no_rope_layer_interval === 0 ? 0 : 1))
    if (marks.length !== depth)
      problems.damaged(`no_rope_layers has ${marks.length} entries, num_hidden_layers is ${depth}`)
    if (layerTypes(c.layer_types, depth, () => false, problems).includes('sliding_attention'))
      problems.uncovered('layer_types has sliding_attention, which is not covered for SmolLM 3')
    return {
      dim: c.hidden_size,
      depth,
      ...headsOf(c, problems),
      attn_qkv_bias: c.attention_bias,
      attn_out_bias: c.attention_bias,
      ...above0('attn_dropout', c.attention_dropout),
      use_rmsnorm: true,
      norm_eps: c.rms_norm_eps,
      pre_norm_has_final_norm: true,
      rotary_pos_emb: true,
      rotary_values: false,
      rotary_layers: perLayer(marks.map((mark) => mark !== 0)),
      ...rotaryOf(c, problems, BASE),
      ff_glu: true,
      ff_activation: c.hidden_act,
      ff_inner_dim: c.intermediate_size,
      ff_no_bias: !c.mlp_bias,
      ff_glu_bias: c.mlp_bias,
    }
  },
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...NORMS, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
