/** Phi 1, 1.5 and 2. Source: <https://arxiv.org/abs/2309.05463>. */
import { headsOf } from '../config/attention.js'
import { activation, count, dropout, nullable, only, positive, size } from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import { above0, family } from './family.js'
import { FREQUENCIES } from './llama.js'

const ATTENTION = 'attn_layers.layers.{2n}'
const FEED_FORWARD = 'attn_layers.layers.{2n+1}'

const PARTIAL = { partial: 0.5 }

export const phi = family({
  name: 'Phi',
  types: ['phi'],
  classes: ['PhiForCausalLM', 'PhiModel'],
  fields: {
    vocab_size: size(51_200),
    hidden_size: size(2048),
    intermediate_size: size(8192),
    num_hidden_layers: count(24),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1)),
    max_position_embeddings: size(2048),
    hidden_act: activation('gelu_new'),
    layer_norm_eps: positive(1e-5),
    qk_layernorm: only(false),
    attention_dropout: dropout(0),
    resid_pdrop: dropout(0),
    embd_pdrop: dropout(0),
    // its head has a bias, which the embedding has not
    tie_word_embeddings: only(false),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longestOf(c, problems, PARTIAL),
    ...above0('emb_dropout', c.embd_pdrop),
  }),
  layers: (c, problems) => ({
    dim: c.hidden_size,
    depth: c.num_hidden_layers,
    ...headsOf(c, problems),
    attn_qkv_bias: true,
    attn_out_bias: true,
    ...above0('attn_dropout', c.attention_dropout),
    ...above0('attn_sublayer_dropout', c.resid_pdrop),
    norm_eps: c.layer_norm_eps,
    parallel_block: true,
    parallel_block_shared_norm: true,
    rotary_pos_emb: true,
    rotary_values: false,
    ...rotaryOf(c, problems, PARTIAL),
    ff_activation: c.hidden_act,
    ff_inner_dim: c.intermediate_size,
    ...above0('ff_sublayer_dropout', c.resid_pdrop),
  }),
  prefix: 'model.',
  weights: () => [
    ['model.embed_tokens.weight', 'token_emb.emb.weight'],
    ['lm_head.*', 'to_logits.*'],
    ['model.layers.{n}.input_layernorm.*', `${ATTENTION}.0.0.*`],
    ['model.layers.{n}.self_attn.q_proj.*', `${ATTENTION}.1.to_q.*`],
    ['model.layers.{n}.self_attn.k_proj.*', `${ATTENTION}.1.to_k.*`],
    ['model.layers.{n}.self_attn.v_proj.*', `${ATTENTION}.1.to_v.*`],
    ['model.layers.{n}.self_attn.dense.*', `${ATTENTION}.1.to_out.*`],
    ['model.layers.{n}.mlp.fc1.*', `${FEED_FORWARD}.1.ff.0.0.*`],
    ['model.layers.{n}.mlp.fc2.*', `${FEED_FORWARD}.1.ff.3.*`],
    ['model.final_layernorm.*', 'norm.*'],
  ],
  buffers: [FREQUENCIES],
})
