/** Phi 3, 3.5, and 4. Source: <https://arxiv.org/abs/2404.14219>. */
import { headsOf, windows } from '../config/attention.js'
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
import { splitRows, swapHalves } from '../weights/transforms.js'
import { above0, family } from './family.js'
import { EMBEDDINGS, FREQUENCIES, NORMS, TIED } from './llama.js'

const ATTENTION = 'attn_layers.layers.{2n}.1'
const FEED_FORWARD = 'attn_layers.layers.{2n+1}.1'

/** Queries, keys and values in one tensor; gate and value in another. */
const FUSED: readonly Rule[] = [
  [
    'model.layers.{n}.self_attn.qkv_proj.weight',
    ['to_q', 'to_k', 'to_v'].map((name) => `${ATTENTION}.${name}.weight`),
    splitRows,
  ],
  ['model.layers.{n}.self_attn.o_proj.weight', `${ATTENTION}.to_out.weight`],
  ['model.layers.{n}.mlp.gate_up_proj.weight', `${FEED_FORWARD}.ff.0.proj.weight`, swapHalves],
  ['model.layers.{n}.mlp.down_proj.weight', `${FEED_FORWARD}.ff.3.weight`],
]

/** What its files call the type of their positions. */
const NAMES = { aliases: { su: 'longrope', yarn: 'longrope' } }

export const phi3 = family({
  name: 'Phi 3',
  types: ['phi3'],
  classes: ['Phi3ForCausalLM', 'Phi3Model'],
  fields: {
    vocab_size: size(32_064),
    hidden_size: size(3072),
    intermediate_size: size(8192),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1)),
    max_position_embeddings: size(4096),
    original_max_position_embeddings: nullable(size(1), 4096),
    sliding_window: nullable(size(1)),
    hidden_act: activation('silu'),
    rms_norm_eps: positive(1e-5),
    attention_dropout: dropout(0),
    resid_pdrop: dropout(0),
    embd_pdrop: dropout(0),
    tie_word_embeddings: flag(false),
    // what the files of Phi 4 say besides
    full_attn_mod: only(1),
    interpolate_factor: only(1),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longestOf(c, problems, NAMES),
    ...above0('emb_dropout', c.embd_pdrop),
    tie_embedding: tied,
    logits_bias: false,
  }),
  layers(c, problems) {
    const layers = Array<string>(c.num_hidden_layers).fill('sliding_attention')
    return {
      dim: c.hidden_size,
      depth: c.num_hidden_layers,
      ...headsOf(c, problems),
      ...windows(layers, c.sliding_window),
      ...above0('attn_dropout', c.attention_dropout),
      ...above0('attn_sublayer_dropout', c.resid_pdrop),
      use_rmsnorm: true,
      norm_eps: c.rms_norm_eps,
      pre_norm_has_final_norm: true,
      rotary_pos_emb: true,
      rotary_values: false,
      ...rotaryOf(c, problems, NAMES),
      ff_glu: true,
      ff_activation: c.hidden_act,
      ff_inner_dim: c.intermediate_size,
      ff_no_bias: true,
      ff_glu_bias: false,
      ...above0('ff_sublayer_dropout', c.resid_pdrop),
    }
  },
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...NORMS, ...FUSED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
