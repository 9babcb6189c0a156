/** Granite, without its mixtures of experts. Source: <https://arxiv.org/abs/2405.04324>. */
import { headsOf } from '../config/attention.js'
import { activation, count, dropout, flag, nullable, positive, size } from '../config/fields.js'
import { lengthWith, ROTARY, rotaryOf } from '../config/rotary.js'
import { above0, family } from './family.js'
import { ATTENTION, EMBEDDINGS, FREQUENCIES, GATED, NORMS, TIED } from './llama.js'

export const granite = family({
  name: 'Granite',
  types: ['granite'],
  classes: ['GraniteForCausalLM', 'GraniteModel'],
  fields: {
    vocab_size: size(32_000),
    hidden_size: size(4096),
    intermediate_size: size(11_008),
    num_hidden_layers: count(32),
    num_attention_heads: count(32),
    num_key_value_heads: nullable(count(1)),
    max_position_embeddings: size(2048),
    embedding_multiplier: positive(1),
    attention_multiplier: positive(1),
    residual_multiplier: positive(1),
    logits_scaling: positive(1),
    hidden_act: activation('silu'),
    rms_norm_eps: positive(1e-6),
    attention_bias: flag(false),
    mlp_bias: flag(false),
    attention_dropout: dropout(0),
    tie_word_embeddings: flag(false),
    ...ROTARY,
  },
  plan(c, problems, { tied }) {
    const rotary = rotaryOf(c, problems)
    return {
      kind: 'decoder',
      model: {
        num_tokens: c.vocab_size,
        max_seq_len: lengthWith(rotary, c.max_position_embeddings),
        emb_scale: c.embedding_multiplier,
        tie_embedding: tied,
        logits_bias: false,
        logits_scale: 1 / c.logits_scaling,
      },
      layers: {
        dim: c.hidden_size,
        depth: c.num_hidden_layers,
        ...headsOf(c, problems),
        attn_qkv_bias: c.attention_bias,
        attn_out_bias: c.attention_bias,
        attn_scale: c.attention_multiplier,
        ...above0('attn_dropout', c.attention_dropout),
        use_rmsnorm: true,
        norm_eps: c.rms_norm_eps,
        pre_norm_has_final_norm: true,
        branch_scale: c.residual_multiplier,
        rotary_pos_emb: true,
        rotary_values: false,
        ...rotary,
        ff_glu: true,
        ff_activation: c.hidden_act,
        ff_inner_dim: c.intermediate_size,
        ff_no_bias: !c.mlp_bias,
        ff_glu_bias: c.mlp_bias,
      },
    }
  },
  prefix: 'model.',
  weights: () => [...EMBEDDINGS, ...NORMS, ...ATTENTION, ...GATED],
  tied: TIED,
  ties: (c) => c.tie_word_embeddings,
  buffers: [FREQUENCIES],
})
