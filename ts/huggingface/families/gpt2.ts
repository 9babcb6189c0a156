/** GPT-2. Source: <https://openai.com/research/better-language-models>. */
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
import { splitRows, transposed } from '../weights/transforms.js'
import { above0, family, perLayer } from './family.js'

const ATTENTION = 'attn_layers.layers.{2n}'
const FEED_FORWARD = 'attn_layers.layers.{2n+1}'

export const gpt2 = family({
  name: 'GPT-2',
  types: ['gpt2'],
  classes: ['GPT2LMHeadModel', 'GPT2Model'],
  fields: {
    vocab_size: size(50_257),
    n_positions: size(1024),
    n_embd: size(768),
    n_layer: count(12),
    n_head: count(12),
    n_inner: nullable(size(1)),
    activation_function: activation('gelu_new'),
    layer_norm_epsilon: positive(1e-5),
    scale_attn_weights: flag(true),
    scale_attn_by_inverse_layer_idx: flag(false),
    attn_pdrop: dropout(0.1),
    resid_pdrop: dropout(0.1),
    embd_pdrop: dropout(0.1),
    add_cross_attention: only(false),
    tie_word_embeddings: flag(true),
  },
  kind: 'decoder',
  model: (c, _problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: c.n_positions,
    abs_pos_emb_scale: 1,
    ...above0('emb_dropout', c.embd_pdrop),
    tie_embedding: tied,
    logits_bias: false,
  }),
  layers(c, problems) {
    const heads = { hidden_size: c.n_embd, num_attention_heads: c.n_head }
    const { attn_dim_head } = headsOf(heads, problems)
    const scale = c.scale_attn_weights ? attn_dim_head ** -0.5 : 1
    const scales = Array.from({ length: c.n_layer }, (_, n) =>
      c.scale_attn_by_inverse_layer_idx ? scale / (n + 1) : scale,
    )
    return {
      dim: c.n_embd,
      depth: c.n_layer,
      heads: c.n_head,
      attn_dim_head,
      attn_scale: perLayer(scales),
      attn_qkv_bias: true,
      attn_out_bias: true,
      ...above0('attn_dropout', c.attn_pdrop),
      ...above0('attn_sublayer_dropout', c.resid_pdrop),
      norm_eps: c.layer_norm_epsilon,
      ff_activation: c.activation_function,
      ff_inner_dim: c.n_inner ?? 4 * c.n_embd,
      ...above0('ff_sublayer_dropout', c.resid_pdrop),
    }
  },
  prefix: 'transformer.',
  weights: () => [
    ['transformer.wte.weight', 'token_emb.emb.weight'],
    ['transformer.wpe.weight', 'pos_emb.emb.weight'],
    ['lm_head.weight', 'to_logits.weight'],
    ['transformer.h.{n}.ln_1.*', `${ATTENTION}.0.0.*`],
    [
      'transformer.h.{n}.attn.c_attn.*',
      [`${ATTENTION}.1.to_q.*`, `${ATTENTION}.1.to_k.*`, `${ATTENTION}.1.to_v.*`],
      transposed(splitRows),
    ],
    ['transformer.h.{n}.attn.c_proj.*', `${ATTENTION}.1.to_out.*`, transposed()],
    ['transformer.h.{n}.ln_2.*', `${FEED_FORWARD}.0.0.*`],
    ['transformer.h.{n}.mlp.c_fc.*', `${FEED_FORWARD}.1.ff.0.0.*`, transposed()],
    ['transformer.h.{n}.mlp.c_proj.*', `${FEED_FORWARD}.1.ff.3.*`, transposed()],
    ['transformer.ln_f.*', 'norm.*'],
  ],
  tied: { head: 'lm_head.weight', embedding: 'transformer.wte.weight' },
  ties: (c) => c.tie_word_embeddings,
  buffers: [/(^|\.)h\.\d+\.attn\.(masked_)?bias$/],
})
