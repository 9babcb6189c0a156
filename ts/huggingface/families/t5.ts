/** T5, its version 1.1, and FLAN-T5. Source: <https://arxiv.org/abs/1910.10683>. */
import {
  type Activation,
  choice,
  count,
  dropout,
  type Fields,
  flag,
  nullable,
  positive,
  size,
  text,
  type Values,
  wholeFrom0,
} from '../config/fields.js'
import type { Rule } from '../weights/rules.js'
import { joinRows } from '../weights/transforms.js'
import { above0, family } from './family.js'

/** The kinds of feed-forward. */
const FEED_FORWARDS: Readonly<Record<string, { activation: Activation; gated: boolean }>> = {
  relu: { activation: 'relu', gated: false },
  gelu: { activation: 'gelu', gated: false },
  'gated-gelu': { activation: 'gelu_tanh', gated: true },
  'gated-silu': { activation: 'silu', gated: true },
  'gated-relu': { activation: 'relu', gated: true },
}

/** The rules of attention, between two names. */
const attention = (theirs: string, ours: string): Rule[] => [
  [`${theirs}.q.weight`, `${ours}.to_q.weight`],
  [`${theirs}.k.weight`, `${ours}.to_k.weight`],
  [`${theirs}.v.weight`, `${ours}.to_v.weight`],
  [`${theirs}.o.weight`, `${ours}.to_out.weight`],
]

/** The rules of a feed-forward, with a gate or without. */
const feedForward = (theirs: string, ours: string): Rule[] => [
  [`${theirs}.wi.weight`, `${ours}.0.0.weight`],
  [[`${theirs}.wi_1.weight`, `${theirs}.wi_0.weight`], `${ours}.0.proj.weight`, joinRows],
  [`${theirs}.wo.weight`, `${ours}.3.weight`],
]

const ENCODER = 'encoder.attn_layers'
const DECODER = 'decoder.net.attn_layers'

/** Where the first block keeps what all blocks add to their scores. */
const bias = (stack: string) =>
  `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`

/** Options of one of the two, with its prefix. */
const under = <Prefix extends string, Options extends object>(prefix: Prefix, options: Options) =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [prefix + name, value])) as {
    [Name in keyof Options & string as `${Prefix}${Name}`]: Options[Name]
  }

const FIELDS = {
  vocab_size: size(32_128),
  d_model: size(512),
  d_kv: size(64),
  d_ff: size(2048),
  num_layers: count(6),
  num_decoder_layers: nullable(count(6)),
  num_heads: count(8),
  relative_attention_num_buckets: size(32),
  relative_attention_max_distance: size(128),
  n_positions: size(512),
  feed_forward_proj: choice(FEED_FORWARDS, 'relu'),
  // what follows from feed_forward_proj
  dense_act_fn: text(''),
  is_gated_act: flag(false),
  layer_norm_epsilon: positive(1e-6),
  dropout_rate: dropout(0.1),
  scale_decoder_outputs: nullable(flag(true)),
  tie_word_embeddings: flag(true),
  pad_token_id: wholeFrom0(0),
} as const satisfies Fields

type Config = Values<typeof FIELDS>

/** Whether the logits have a factor: in the first version alone. */
const isScaled = (c: Config) => c.scale_decoder_outputs ?? c.tie_word_embeddings

/** The options of encoder and decoder. */
const both = (c: Config) => ({
  max_seq_len: c.n_positions,
  num_tokens: c.vocab_size,
  ...above0('emb_dropout', c.dropout_rate),
  heads: c.num_heads,
  attn_dim_head: c.d_kv,
  attn_scale: 1,
  ...above0('attn_dropout', c.dropout_rate),
  ...above0('attn_sublayer_dropout', c.dropout_rate),
  use_rmsnorm: true,
  norm_eps: c.layer_norm_epsilon,
  pre_norm_has_final_norm: true,
  rel_pos_bias: true,
  rel_pos_num_buckets: c.relative_attention_num_buckets,
  rel_pos_max_distance: c.relative_attention_max_distance,
  rel_pos_scale: 1,
  ff_glu: c.feed_forward_proj.gated,
  ff_activation: c.feed_forward_proj.activation,
  ff_inner_dim: c.d_ff,
  ff_no_bias: true,
  ff_glu_bias: false,
  ...above0('ff_dropout', c.dropout_rate),
  ...above0('ff_sublayer_dropout', c.dropout_rate),
})

export const t5 = family({
  name: 'T5',
  types: ['t5'],
  classes: ['T5ForConditionalGeneration', 'T5WithLMHeadModel'],
  fields: FIELDS,
  kind: 'encoder-decoder',
  model: (c, _problems, { tied }) => ({
    dim: c.d_model,
    tie_token_emb: true,
    pad_value: c.pad_token_id,
    enc_depth: c.num_layers,
    ...under('enc_', both(c)),
    enc_return_only_embed: true,
    dec_depth: c.num_decoder_layers ?? c.num_layers,
    ...under('dec_', both(c)),
    dec_tie_embedding: tied,
    dec_logits_bias: false,
    dec_logits_scale: isScaled(c) ? c.d_model ** -0.5 : 1,
  }),
  prefix: '',
  weights: () => [
    ['shared.weight', 'encoder.token_emb.emb.weight'],
    ['encoder.block.{n}.layer.0.layer_norm.weight', `${ENCODER}.layers.{2n}.0.0.g`],
    ...attention('encoder.block.{n}.layer.0.SelfAttention', `${ENCODER}.layers.{2n}.1`),
    [bias('encoder'), `${ENCODER}.rel_pos.relative_attention_bias.weight`],
    ['encoder.block.{n}.layer.1.layer_norm.weight', `${ENCODER}.layers.{2n+1}.0.0.g`],
    ...feedForward('encoder.block.{n}.layer.1.DenseReluDense', `${ENCODER}.layers.{2n+1}.1.ff`),
    ['encoder.final_layer_norm.weight', `${ENCODER}.final_norm.g`],
    ['decoder.block.{n}.layer.0.layer_norm.weight', `${DECODER}.layers.{3n}.0.0.g`],
    ...attention('decoder.block.{n}.layer.0.SelfAttention', `${DECODER}.layers.{3n}.1`),
    [bias('decoder'), `${DECODER}.rel_pos.relative_attention_bias.weight`],
    ['decoder.block.{n}.layer.1.layer_norm.weight', `${DECODER}.layers.{3n+1}.0.0.g`],
    ...attention('decoder.block.{n}.layer.1.EncDecAttention', `${DECODER}.layers.{3n+1}.1`),
    ['decoder.block.{n}.layer.2.layer_norm.weight', `${DECODER}.layers.{3n+2}.0.0.g`],
    ...feedForward('decoder.block.{n}.layer.2.DenseReluDense', `${DECODER}.layers.{3n+2}.1.ff`),
    ['decoder.final_layer_norm.weight', `${DECODER}.final_norm.g`],
    ['lm_head.weight', 'decoder.net.to_logits.weight'],
  ],
  tied: { head: 'lm_head.weight', embedding: 'shared.weight' },
  ties: isScaled,
  copies: {
    'encoder.embed_tokens.weight': 'shared.weight',
    'decoder.embed_tokens.weight': 'shared.weight',
  },
  unused: [/^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$/],
})
