/** OLMo 1: norms without parameters. Source: <https://arxiv.org/abs/2402.00838>. */
import { headsOf } from '../config/attention.js'
import { activation, count, dropout, flag, nullable, positive, size } from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, TIED } from './llama.js'

export const olmo = family({
  name: 'OLMo',
  types: ['olmo'],
  classes: ['OlmoForCausalLM', 'OlmoModel'],
  fields: {
    vocab_size: size(50_304),
    hidden_size: size(4096),
    intermediate_size: size(11_008),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1)),
    max_position_embeddings: size(2048),
    clip_qkv: nullable(positive(1)),
    hidden_act: activation('silu'),
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
    ...(c.clip_qkv !== null && { attn_qkv_clip: c.clip_qkv }),
    ...above0('attn_dropout', c.attention_dropout),
    // of the class, not of its configuration
    norm_eps: 1e-5,
    norm_elementwise_affine: false,
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
  weights: () => [...EMBEDDINGS, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
