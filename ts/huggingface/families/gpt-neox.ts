/** GPT-NeoX and Pythia. Source: <https://arxiv.org/abs/2204.06745>. */
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
import { longestOf, ROTARY, rotaryOf } from '../config/rotary.js'
import { splitByHead } from '../weights/transforms.js'
import { above0, family } from './family.js'

const ATTENTION = 'attn_layers.layers.{2n}'
const FEED_FORWARD = 'attn_layers.layers.{2n+1}'

/** What older files say of positions, with the class's defaults. */
const positions = (c: { rotary_emb_base: number | null; rotary_pct: number | null }) => ({
  theta: c.rotary_emb_base ?? 10_000,
  partial: c.rotary_pct ?? 0.25,
})

export const gptNeox = family({
  name: 'GPT-NeoX',
  types: ['gpt_neox'],
  classes: ['GPTNeoXForCausalLM', 'GPTNeoXModel'],
  fields: {
    vocab_size: size(50_432),
    hidden_size: size(6144),
    intermediate_size: size(24_576),
    num_hidden_layers: count(44),
    num_attention_heads: count(64),
    max_position_embeddings: size(2048),
    rotary_pct: nullable(share(1)),
    rotary_emb_base: nullable(positive(1)),
    use_parallel_residual: flag(true),
    hidden_act: activation('gelu'),
    layer_norm_eps: positive(1e-5),
    attention_bias: flag(true),
    attention_dropout: dropout(0),
    hidden_dropout: dropout(0),
    // what older files say, and nobody reads
    attention_probs_dropout_prob: only(0),
    hidden_dropout_prob: only(0),
    tie_word_embeddings: flag(false),
    ...ROTARY,
  },
  kind: 'decoder',
  model: (c, problems, { tied }) => ({
    num_tokens: c.vocab_size,
    max_seq_len: longestOf(c, problems, positions(c)),
    ...above0('emb_dropout', c.hidden_dropout),
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
    ...above0('attn_sublayer_dropout', c.hidden_dropout),
    norm_eps: c.layer_norm_eps,
    parallel_block: c.use_parallel_residual,
    rotary_pos_emb: true,
    rotary_values: false,
    ...rotaryOf(c, problems, positions(c)),
    ff_activation: c.hidden_act,
    ff_inner_dim: c.intermediate_size,
    ...above0('ff_sublayer_dropout', c.hidden_dropout),
  }),
  prefix: 'gpt_neox.',
  weights: (c) => [
    ['gpt_neox.embed_in.weight', 'token_emb.emb.weight'],
    ['embed_out.weight', 'to_logits.weight'],
    ['gpt_neox.layers.{n}.input_layernorm.*', `${ATTENTION}.0.0.*`],
    [
      'gpt_neox.layers.{n}.attention.query_key_value.*',
      ['to_q.*', 'to_k.*', 'to_v.*'].map((name) => `${ATTENTION}.1.${name}`),
      splitByHead(c.num_attention_heads),
    ],
    ['gpt_neox.layers.{n}.attention.dense.*', `${ATTENTION}.1.to_out.*`],
    ['gpt_neox.layers.{n}.post_attention_layernorm.*', `${FEED_FORWARD}.0.0.*`],
    ['gpt_neox.layers.{n}.mlp.dense_h_to_4h.*', `${FEED_FORWARD}.1.ff.0.0.*`],
    ['gpt_neox.layers.{n}.mlp.dense_4h_to_h.*', `${FEED_FORWARD}.1.ff.3.*`],
    ['gpt_neox.final_layer_norm.*', 'norm.*'],
  ],
  tied: { head: 'embed_out.weight', embedding: 'gpt_neox.embed_in.weight' },
  ties: (c) => c.tie_word_embeddings,
  // what transformers 5 calls the head
  renamed: [[/^lm_head\./, 'embed_out.']],
  buffers: [/\.rotary_emb\.inv_freq$/, /\.attention\.(masked_)?bias$/],
})
