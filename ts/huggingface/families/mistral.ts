/** Mistral: Llama with a window. Source: <https://arxiv.org/abs/2310.06825>. */
import { headsOf, windows } from '../config/attention.js'
import { activation, count, dropout, flag, nullable, positive, size } from '../config/fields.js'
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, NORMS, TIED } from './llama.js'

export const mistral = family({
  name: 'Mistral',
  types: ['mistral'],
  classes: ['MistralForCausalLM', 'MistralModel'],
  fields: {
    vocab_size: size(32_000),
    hidden_size: size(4096),
    intermediate_size: size(14_336),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1), 8),
    head_dim: nullable(size(1)),
    max_position_embeddings: size(131_072),
    sliding_window: nullable(size(1), 4096),
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
    const layers = Array<string>(c.num_hidden_layers).fill('sliding_attention')
    return {
      dim: c.hidden_size,
      depth: c.num_hidden_layers,
      ...headsOf(c, problems),
      ...windows(layers, c.sliding_window),
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
