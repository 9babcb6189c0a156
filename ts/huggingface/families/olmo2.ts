/** OLMo 2: norms after attention and feed-forward. Source: <https://arxiv.org/abs/2501.00656>. */
import { headsOf } from '../config/attention.js'
import { activation, count, dropout, flag, nullable, positive, size } from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import type { Rule } from '../weights/rules.js'
import { reshaped } from '../weights/transforms.js'
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, TIED } from './llama.js'

/** (heads features) in the file, (heads, features) in the model. */
const asOneRow = reshaped((ours) => [ours.reduce((a, b) => a * b, 1)])

const NORMS: readonly Rule[] = [
  ['model.layers.{n}.post_attention_layernorm.weight', 'attn_layers.layers.{2n}.0.1.g'],
  ['model.layers.{n}.post_feedforward_layernorm.weight', 'attn_layers.layers.{2n+1}.0.1.g'],
  [
    'model.layers.{n}.self_attn.q_norm.weight',
    'attn_layers.layers.{2n}.1.q_rmsnorm.weight',
    asOneRow,
  ],
  [
    'model.layers.{n}.self_attn.k_norm.weight',
    'attn_layers.layers.{2n}.1.k_rmsnorm.weight',
    asOneRow,
  ],
  ['model.norm.weight', 'attn_layers.final_norm.g'],
]

export const olmo2 = family({
  name: 'OLMo 2',
  types: ['olmo2'],
  classes: ['Olmo2ForCausalLM', 'Olmo2Model'],
  fields: {
    vocab_size: size(50_304),
    hidden_size: size(4096),
    intermediate_size: size(11_008),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1)),
    max_position_embeddings: size(2048),
    hidden_act: activation('silu'),
    rms_norm_eps: positive(1e-5),
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
  layers: (c, problems) => ({
    dim: c.hidden_size,
    depth: c.num_hidden_layers,
    ...headsOf(c, problems),
    attn_qkv_bias: c.attention_bias,
    attn_out_bias: c.attention_bias,
    attn_qk_rmsnorm: true,
    attn_qk_rmsnorm_across_heads: true,
    attn_qk_rmsnorm_eps: c.rms_norm_eps,
    ...above0('attn_dropout', c.attention_dropout),
    use_rmsnorm: true,
    norm_eps: c.rms_norm_eps,
    norm_position: 'branch',
    pre_norm_has_final_norm: true,
    rotary_pos_emb: true,
    rotary_values: false,
    ...rotaryOf(c, problems),
    ff_glu: true,
    ff_activation: c.hidden_act,
    ff_inner_dim: c.intermediate_size,
    ff_no_bias: true,
    ff_glu_bias: false,
  }),
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...NORMS, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
