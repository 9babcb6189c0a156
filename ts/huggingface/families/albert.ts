/**
 * ALBERT: BERT, whose layers share their weights in groups, with narrower embeddings.
 * Source: <https://arxiv.org/abs/1909.11942>.
 */
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
import type { Rule } from '../weights/rules.js'
import { labelsOf } from './bert.js'
import { above0, family } from './family.js'

/** What configurations say of groups. */
interface Groups {
  num_hidden_layers: number
  num_hidden_groups: number
  inner_group_num: number
}

/**
 * The sub-layers in the order in which they run, two for each inner layer: all inner layers of the
 * group of each layer.
 */
function order(c: Groups): number[] {
  const layers = Array.from({ length: c.num_hidden_layers }, (_, n) =>
    Math.floor((n * c.num_hidden_groups) / c.num_hidden_layers),
  )
  const inner = Array.from({ length: c.inner_group_num }, (_, j) => j)
  return layers
    .flatMap((group) => inner.map((j) => group * c.inner_group_num + j))
    .flatMap((block) => [2 * block, 2 * block + 1])
}

/** The rules of one inner layer, which is the block `block` of the model. */
function layer(group: number, inner: number, block: number): Rule[] {
  const theirs = `albert.encoder.albert_layer_groups.${group}.albert_layers.${inner}`
  const [attention, ff] = [2 * block, 2 * block + 1].map((n) => `attn_layers.layers.${n}`)
  return [
    [`${theirs}.attention.query.*`, `${attention}.1.to_q.*`],
    [`${theirs}.attention.key.*`, `${attention}.1.to_k.*`],
    [`${theirs}.attention.value.*`, `${attention}.1.to_v.*`],
    [`${theirs}.attention.dense.*`, `${attention}.1.to_out.*`],
    [`${theirs}.attention.LayerNorm.*`, `${attention}.0.2.*`],
    [`${theirs}.ffn.*`, `${ff}.1.ff.0.0.*`],
    [`${theirs}.ffn_output.*`, `${ff}.1.ff.3.*`],
    [`${theirs}.full_layer_layer_norm.*`, `${ff}.0.2.*`],
  ]
}

/** The rules of all layers. */
const layers = (c: Groups): Rule[] =>
  Array.from({ length: c.num_hidden_groups * c.inner_group_num }, (_, block) =>
    layer(Math.floor(block / c.inner_group_num), block % c.inner_group_num, block),
  ).flat()

export const albert = family({
  name: 'ALBERT',
  types: ['albert'],
  classes: [
    'AlbertModel',
    'AlbertForPreTraining',
    'AlbertForMaskedLM',
    'AlbertForSequenceClassification',
    'AlbertForTokenClassification',
    'AlbertForQuestionAnswering',
  ],
  fields: {
    vocab_size: size(30_000),
    embedding_size: size(128),
    hidden_size: size(4096),
    intermediate_size: size(16_384),
    num_hidden_layers: count(12),
    num_hidden_groups: count(1),
    inner_group_num: count(1),
    num_attention_heads: count(64),
    max_position_embeddings: size(512),
    type_vocab_size: size(2),
    position_embedding_type: only('absolute'),
    hidden_act: activation('gelu_new'),
    layer_norm_eps: positive(1e-12),
    hidden_dropout_prob: dropout(0),
    attention_probs_dropout_prob: dropout(0),
    // of the files of the first version, and read by nobody
    net_structure_type: only(0),
    num_memory_blocks: only(0),
    gap_size: only(0),
    down_scale_factor: only(1),
    tie_word_embeddings: only(true),
    id2label: nullable(record()),
    num_labels: nullable(size(2)),
  },
  kind: 'encoder',
  model: (c) => ({
    num_tokens: c.vocab_size,
    max_seq_len: c.max_position_embeddings,
    emb_dim: c.embedding_size,
    abs_pos_emb_scale: 1,
    embed_num_tokens: { token_type: c.type_vocab_size },
    post_emb_norm: true,
    ...above0('emb_dropout', c.hidden_dropout_prob),
    return_only_embed: true,
  }),
  layers(c, problems) {
    if (c.embedding_size === c.hidden_size)
      problems.uncovered('embedding_size equal to hidden_size is not covered')
    if (c.num_hidden_groups > c.num_hidden_layers)
      problems.damaged(
        `num_hidden_groups ${c.num_hidden_groups} is more than num_hidden_layers ${c.num_hidden_layers}`,
      )
    return {
      dim: c.hidden_size,
      depth: c.num_hidden_groups * c.inner_group_num,
      layers_execute_order: order(c),
      ...headsOf(c, problems),
      attn_qkv_bias: true,
      attn_out_bias: true,
      ...above0('attn_dropout', c.attention_probs_dropout_prob),
      ...above0('attn_sublayer_dropout', c.hidden_dropout_prob),
      norm_eps: c.layer_norm_eps,
      norm_position: 'post',
      ff_activation: c.hidden_act,
      ff_inner_dim: c.intermediate_size,
    }
  },
  prefix: 'albert.',
  weights: (c) => [
    ['albert.embeddings.word_embeddings.weight', 'token_emb.emb.weight'],
    ['albert.embeddings.position_embeddings.weight', 'pos_emb.emb.weight'],
    ['albert.embeddings.token_type_embeddings.weight', 'embeds.token_type_embed.weight'],
    ['albert.embeddings.LayerNorm.*', 'post_emb_norm.*'],
    ['albert.encoder.embedding_hidden_mapping_in.*', 'project_emb.*'],
    ...layers(c),
  ],
  buffers: [/(^|\.)embeddings\.position_ids$/],
  copies: {
    'predictions.decoder.weight': 'albert.embeddings.word_embeddings.weight',
    'predictions.decoder.bias': 'predictions.bias',
  },
  heads: (c) => ({
    pooler: {
      kind: 'pooler',
      when: 'albert.pooler.weight',
      options: { dim: c.hidden_size },
      weights: [['albert.pooler.*', 'dense.*']],
    },
    mlm: {
      kind: 'masked',
      when: 'predictions.dense.weight',
      options: { dim: c.hidden_size, activation: c.hidden_act, eps: c.layer_norm_eps },
      weights: [
        ['predictions.dense.*', 'dense.*'],
        ['predictions.LayerNorm.*', 'norm.*'],
        ['predictions.bias', 'bias'],
      ],
    },
    sop: {
      kind: 'linear',
      when: 'sop_classifier.classifier.weight',
      options: { in_features: c.hidden_size, out_features: 2 },
      weights: [['sop_classifier.classifier.*', '*']],
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
