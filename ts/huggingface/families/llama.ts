/**
 * Llama 2 and 3, and what has its classes: SmolLM 2, Falcon 3.
 * Source: <https://arxiv.org/abs/2307.09288>, <https://arxiv.org/abs/2407.21783>.
 */
import { headsOf } from '../config/attention.js'
import {
  activation,
  count,
  dropout,
  flag,
  nullable,
  only,
  positive,
  size,
} from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import type { Rule } from '../weights/rules.js'
import { joinRows } from '../weights/transforms.js'
import { above0, family } from './family.js'

/** Biases are there where the settings ask for them. */
export const ATTENTION: readonly Rule[] = [
  ['model.layers.{n}.self_attn.q_proj.*', 'attn_layers.layers.{2n}.1.to_q.*'],
  ['model.layers.{n}.self_attn.k_proj.*', 'attn_layers.layers.{2n}.1.to_k.*'],
  ['model.layers.{n}.self_attn.v_proj.*', 'attn_layers.layers.{2n}.1.to_v.*'],
  ['model.layers.{n}.self_attn.o_proj.*', 'attn_layers.layers.{2n}.1.to_out.*'],
]

/** The rows of a GLU are those of the value, then those of the gate. */
export const GATED: readonly Rule[] = [
  [
    ['model.layers.{n}.mlp.up_proj.*', 'model.layers.{n}.mlp.gate_proj.*'],
    'attn_layers.layers.{2n+1}.1.ff.0.proj.*',
    joinRows,
  ],
  ['model.layers.{n}.mlp.down_proj.*', 'attn_layers.layers.{2n+1}.1.ff.3.*'],
]

export const EMBEDDINGS: readonly Rule[] = [
  ['model.embed_tokens.weight', 'token_emb.emb.weight'],
  ['lm_head.weight', 'to_logits.weight'],
]

/** RMSNorms before attention and feed-forward, and at the end. */
export const NORMS: readonly Rule[] = [
  ['model.layers.{n}.input_layernorm.weight', 'attn_layers.layers.{2n}.0.0.g'],
  ['model.layers.{n}.post_attention_layernorm.weight', 'attn_layers.layers.{2n+1}.0.0.g'],
  ['model.norm.weight', 'attn_layers.final_norm.g'],
]

export const TIED = { head: 'lm_head.weight', embedding: 'model.embed_tokens.weight' }

/** What transformers has computed anew for a long time. */
export const FREQUENCIES = /\.rotary_emb\.inv_freq$/

export const llama = family({
  name: 'Llama',
  types: ['llama'],
  classes: ['LlamaForCausalLM', 'LlamaModel'],
  fields: {
    vocab_size: size(32_000),
    hidden_size: size(4096),
    intermediate_size: size(11_008),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1)),
    head_dim: nullable(size(1)),
    max_position_embeddings: size(2048),
    hidden_act: activation('silu'),
    // said by Falcon 3, and read by nobody
    activation: only<string | null>('swiglu', null),
    rms_norm_eps: positive(1e-6),
    attention_bias: flag(false),
    mlp_bias: flag(false),
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
    ff_no_bias: !c.mlp_bias,
    ff_glu_bias: c.mlp_bias,
  }),
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...NORMS, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
