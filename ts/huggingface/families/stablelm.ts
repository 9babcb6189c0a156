/** StableLM. Source: <https://arxiv.org/abs/2402.17834>. */
import { headsOf } from '../config/attention.js'
import {
  activation,
  count,
  dropout,
  flag,
  nullable,
  only,
  positive,
  share,
  size,
} from '../config/fields.js'
import type { Problems } from '../config/read.js'
import { longestOf, ROTARY, type RotaryConfig, rotaryOf } from '../config/rotary.js'
import type { Rule } from '../weights/rules.js'
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, TIED } from './llama.js'

/** The second one is not there where the branches are parallel. */
const NORMS: readonly Rule[] = [
  ['model.layers.{n}.input_layernorm.*', 'attn_layers.layers.{2n}.0.0.*'],
  ['model.layers.{n}.post_attention_layernorm.*', 'attn_layers.layers.{2n+1}.0.0.*'],
  ['model.norm.*', 'norm.*'],
]

const PARTIAL = { partial: 0.25 }

/** What the first files say of rotary positions besides, and nobody reads. */
interface Older {
  rope_pct: number | null
}

/** The rotary positions, checked against what older words say of them. */
function positions(c: RotaryConfig & Older, problems: Problems) {
  const rotary = rotaryOf(c, problems, PARTIAL)
  const { rotary_partial_factor: partial } = rotary
  if ((c.rope_pct ?? partial) !== partial)
    problems.uncovered(
      `rope_pct is ${c.rope_pct}, which is not partial_rotary_factor, ${partial}: it is not covered`,
    )
  return rotary
}

export const stablelm = family({
  name: 'StableLM',
  types: ['stablelm'],
  classes: ['StableLmForCausalLM', 'StableLmModel'],
  fields: {
    vocab_size: size(50_304),
    hidden_size: size(2560),
    intermediate_size: size(6912),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1), 32),
    max_position_embeddings: size(4096),
    hidden_act: activation('silu'),
    layer_norm_eps: positive(1e-5),
    use_qkv_bias: flag(false),
    qk_layernorm: only(false),
    use_parallel_residual: flag(false),
    attention_dropout: dropout(0),
    hidden_dropout: dropout(0),
    tie_word_embeddings: flag(false),
    // what the first files say besides, and nobody reads
    rope_pct: nullable(share(1)),
    rotary_scaling_factor: only(1),
    num_heads: nullable(count(1)),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longestOf(c, problems, PARTIAL),
    tie_embedding: tied,
    logits_bias: false,
  }),
  layers: (c, problems) => ({
    dim: c.hidden_size,
    depth: c.num_hidden_layers,
    ...headsOf(c, problems),
    attn_qkv_bias: c.use_qkv_bias,
    ...above0('attn_dropout', c.attention_dropout),
    norm_eps: c.layer_norm_eps,
    parallel_block: c.use_parallel_residual,
    parallel_block_shared_norm: c.use_parallel_residual,
    rotary_pos_emb: true,
    rotary_values: false,
    ...positions(c, problems),
    ff_glu: true,
    ff_activation: c.hidden_act,
    ff_inner_dim: c.intermediate_size,
    ff_no_bias: true,
    ff_glu_bias: false,
    ...above0('ff_sublayer_dropout', c.hidden_dropout),
  }),
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...NORMS, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
