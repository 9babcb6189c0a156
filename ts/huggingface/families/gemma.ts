/** Gemma 1. Source: <https://arxiv.org/abs/2403.08295>. */
import { headsOf } from '../config/attention.js'
import {
  type Activation,
  activation,
  choice,
  count,
  dropout,
  flag,
  nullable,
  positive,
  size,
} from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, NORMS, TIED } from './llama.js'

/** The factor of the embeddings, as transformers rounds it. */
export const embeddingScale = (width: number) => Math.fround(Math.sqrt(width))

/** What the first files call `gelu` is the one with the tangent. */
const GELU = { gelu: 'gelu_tanh', gelu_pytorch_tanh: 'gelu_tanh' } as const

export const gemma = family({
  name: 'Gemma',
  types: ['gemma'],
  classes: ['GemmaForCausalLM', 'GemmaModel'],
  fields: {
    vocab_size: size(256_000),
    hidden_size: size(3072),
    intermediate_size: size(24_576),
    num_hidden_layers: count(28),
    num_attention_heads: count(16),
    num_key_value_heads: nullable(count(1), 16),
    head_dim: nullable(size(1), 256),
    max_position_embeddings: size(8192),
    hidden_act: choice<Activation>(GELU, 'gelu_pytorch_tanh'),
    hidden_activation: nullable(activation('gelu_pytorch_tanh')),
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
  }),
  layers: (c, problems) => ({
    dim: c.hidden_size,
    depth: c.num_hidden_layers,
    ...headsOf(c, problems),
    attn_qkv_bias: c.attention_bias,
    attn_out_bias: c.attention_bias,
    ...above0('attn_dropout', c.attention_dropout),
    use_rmsnorm: true,
    norm_eps: c.rms_norm_eps,
    norm_add_unit_offset: true,
    pre_norm_has_final_norm: true,
    rotary_pos_emb: true,
    rotary_values: false,
    ...rotaryOf(c, problems),
    ff_glu: true,
    ff_activation: c.hidden_activation ?? c.hidden_act,
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
