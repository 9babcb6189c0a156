/** BERT and what has its class, such as MiniLM. Source: <https://arxiv.org/abs/1810.04805>. */
import { headsOf } from '../config/attention.js'
import {
  activation,
  count,
  dropout,
  nullable,
  only,
  positive,
  record,
  size,
} from '../config/fields.js'
import { above0, family } from './family.js'

const ATTENTION = 'attn_layers.layers.{2n}'
const FEED_FORWARD = 'attn_layers.layers.{2n+1}'

/** The number of labels of a classifier. */
export const labelsOf = (c: {
  id2label: Readonly<Record<string, unknown>> | null
  num_labels: number | null
}) => Object.keys(c.id2label ?? {}).length || (c.num_labels ?? 2)

export const bert = family({
  name: 'BERT',
  types: ['bert'],
  classes: [
    'BertModel',
    'BertForPreTraining',
    'BertForMaskedLM',
    'BertForNextSentencePrediction',
    'BertForSequenceClassification',
    'BertForTokenClassification',
    'BertForQuestionAnswering',
  ],
  fields: {
    vocab_size: size(30_522),
    hidden_size: size(768),
    intermediate_size: size(3072),
    num_hidden_layers: count(12),
    num_attention_heads: count(12),
    max_position_embeddings: size(512),
    type_vocab_size: size(2),
    position_embedding_type: only('absolute'),
    hidden_act: activation('gelu'),
    layer_norm_eps: positive(1e-12),
    hidden_dropout_prob: dropout(0.1),
    attention_probs_dropout_prob: dropout(0.1),
    is_decoder: only(false),
    add_cross_attention: only(false),
    tie_word_embeddings: only(true),
    id2label: nullable(record()),
    num_labels: nullable(size(2)),
  },
  kind: 'encoder',
  model: (c) => ({
    num_tokens: c.vocab_size,
    max_seq_len: c.max_position_embeddings,
    abs_pos_emb_scale: 1,
    embed_num_tokens: { token_type: c.type_vocab_size },
    post_emb_norm: true,
    ...above0('emb_dropout', c.hidden_dropout_prob),
    return_only_embed: true,
  }),
  layers: (c, problems) => ({
    dim: c.hidden_size,
    depth: c.num_hidden_layers,
    ...headsOf(c, problems),
    attn_qkv_bias: true,
    attn_out_bias: true,
    ...above0('attn_dropout', c.attention_probs_dropout_prob),
    ...above0('attn_sublayer_dropout', c.hidden_dropout_prob),
    norm_eps: c.layer_norm_eps,
    norm_position: 'post',
    ff_activation: c.hidden_act,
    ff_inner_dim: c.intermediate_size,
    ...above0('ff_sublayer_dropout', c.hidden_dropout_prob),
  }),
  prefix: 'bert.',
  weights: (c) => [
    ['bert.embeddings.word_embeddings.weight', 'token_emb.emb.weight'],
    ['bert.embeddings.position_embeddings.weight', 'pos_emb.emb.weight'],
    ['bert.embeddings.token_type_embeddings.weight', 'embeds.token_type_embed.weight'],
    ['bert.embeddings.LayerNorm.*', 'post_emb_norm.*'],
    ['bert.encoder.layer.{n}.attention.self.query.*', `${ATTENTION}.1.to_q.*`],
    ['bert.encoder.layer.{n}.attention.self.key.*', `${ATTENTION}.1.to_k.*`],
    ['bert.encoder.layer.{n}.attention.self.value.*', `${ATTENTION}.1.to_v.*`],
    ['bert.encoder.layer.{n}.attention.output.dense.*', `${ATTENTION}.1.to_out.*`],
    ['bert.encoder.layer.{n}.attention.output.LayerNorm.*', `${ATTENTION}.0.2.*`],
    ['bert.encoder.layer.{n}.intermediate.dense.*', `${FEED_FORWARD}.1.ff.0.0.*`],
    ['bert.encoder.layer.{n}.output.dense.*', `${FEED_FORWARD}.1.ff.3.*`],
    ['bert.encoder.layer.{n}.output.LayerNorm.*', `${FEED_FORWARD}.0.2.*`],
    // behind the last block it is that of the model
    [`bert.encoder.layer.${c.num_hidden_layers - 1}.output.LayerNorm.*`, 'norm.*'],
  ],
  renamed: [
    [/LayerNorm\.gamma$/, 'LayerNorm.weight'],
    [/LayerNorm\.beta$/, 'LayerNorm.bias'],
  ],
  buffers: [/(^|\.)embeddings\.position_ids$/],
  copies: {
    'cls.predictions.decoder.weight': 'bert.embeddings.word_embeddings.weight',
    'cls.predictions.decoder.bias': 'cls.predictions.bias',
  },
  heads: (c) => ({
    pooler: {
      kind: 'pooler',
      when: 'bert.pooler.dense.weight',
      options: { dim: c.hidden_size },
      weights: [['bert.pooler.dense.*', 'dense.*']],
    },
    mlm: {
      kind: 'masked',
      when: 'cls.predictions.transform.dense.weight',
      options: { dim: c.hidden_size, activation: c.hidden_act, eps: c.layer_norm_eps },
      weights: [
        ['cls.predictions.transform.dense.*', 'dense.*'],
        ['cls.predictions.transform.LayerNorm.*', 'norm.*'],
        ['cls.predictions.bias', 'bias'],
      ],
    },
    nsp: {
      kind: 'linear',
      when: 'cls.seq_relationship.weight',
      options: { in_features: c.hidden_size, out_features: 2 },
      weights: [['cls.seq_relationship.*', '*']],
    },
    classifier: {
      kind: 'linear',
      when: 'classifier.weight',
      options: { in_features: c.hidden_size, out_features: labelsOf(c) },
      weights: [['classifier.*', '*']],
    },
    qa: {
      kind: 'linear',
      when: 'qa_outputs.weight',
      options: { in_features: c.hidden_size, out_features: labelsOf(c) },
      weights: [['qa_outputs.*', '*']],
    },
  }),
})
