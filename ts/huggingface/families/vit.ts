/** ViT. Source: <https://arxiv.org/abs/2010.11929>. */
import { headsOf } from '../config/attention.js'
import {
  activation,
  count,
  dropout,
  flag,
  nullable,
  only,
  positive,
  record,
  size,
} from '../config/fields.js'
import { patches } from '../weights/transforms.js'
import { labelsOf } from './bert.js'
import { above0, type Found, family } from './family.js'

const ATTENTION = 'attn_layers.layers.{2n}'
const FEED_FORWARD = 'attn_layers.layers.{2n+1}'

/** Whether it has a head for classes. */
const classifies = (found: Found) =>
  found.class === 'ViTForImageClassification' || found.has('classifier.weight')

export const vit = family({
  name: 'ViT',
  types: ['vit'],
  classes: ['ViTModel', 'ViTForImageClassification'],
  fields: {
    hidden_size: size(768),
    intermediate_size: size(3072),
    num_hidden_layers: count(12),
    num_attention_heads: count(12),
    image_size: size(224),
    patch_size: size(16),
    num_channels: count(3),
    qkv_bias: flag(true),
    hidden_act: activation('gelu'),
    layer_norm_eps: positive(1e-12),
    hidden_dropout_prob: dropout(0),
    attention_probs_dropout_prob: dropout(0),
    pooler_act: only('tanh'),
    pooler_output_size: nullable(size(768)),
    // for masked images alone, a class that is not covered
    encoder_stride: size(16),
    id2label: nullable(record()),
    num_labels: nullable(size(2)),
  },
  kind: 'vision',
  model: (c, _problems, found) => ({
    image_size: c.image_size,
    patch_size: c.patch_size,
    channels: c.num_channels,
    ...(classifies(found) && { num_classes: labelsOf(c) }),
    use_cls_token: true,
    pool: 'cls',
    patch_norm: false,
    ...above0('emb_dropout', c.hidden_dropout_prob),
  }),
  layers(c, problems) {
    if ((c.pooler_output_size ?? c.hidden_size) !== c.hidden_size)
      problems.uncovered('a pooler_output_size that is not hidden_size is not covered')
    return {
      dim: c.hidden_size,
      depth: c.num_hidden_layers,
      ...headsOf(c, problems),
      attn_qkv_bias: c.qkv_bias,
      attn_out_bias: true,
      ...above0('attn_dropout', c.attention_probs_dropout_prob),
      ...above0('attn_sublayer_dropout', c.hidden_dropout_prob),
      norm_eps: c.layer_norm_eps,
      ff_activation: c.hidden_act,
      ff_inner_dim: c.intermediate_size,
      ...above0('ff_sublayer_dropout', c.hidden_dropout_prob),
    }
  },
  prefix: 'vit.',
  weights: (c) => [
    ['vit.embeddings.cls_token', 'cls_token'],
    ['vit.embeddings.position_embeddings', 'pos_embedding'],
    [
      'vit.embeddings.patch_embeddings.projection.weight',
      'patch_to_embedding.1.weight',
      patches(c.num_channels),
    ],
    ['vit.embeddings.patch_embeddings.projection.bias', 'patch_to_embedding.1.bias'],
    ['vit.encoder.layer.{n}.layernorm_before.*', `${ATTENTION}.0.0.*`],
    ['vit.encoder.layer.{n}.attention.attention.query.*', `${ATTENTION}.1.to_q.*`],
    ['vit.encoder.layer.{n}.attention.attention.key.*', `${ATTENTION}.1.to_k.*`],
    ['vit.encoder.layer.{n}.attention.attention.value.*', `${ATTENTION}.1.to_v.*`],
    ['vit.encoder.layer.{n}.attention.output.dense.*', `${ATTENTION}.1.to_out.*`],
    ['vit.encoder.layer.{n}.layernorm_after.*', `${FEED_FORWARD}.0.0.*`],
    ['vit.encoder.layer.{n}.intermediate.dense.*', `${FEED_FORWARD}.1.ff.0.0.*`],
    ['vit.encoder.layer.{n}.output.dense.*', `${FEED_FORWARD}.1.ff.3.*`],
    ['vit.layernorm.*', 'norm.*'],
    ['classifier.*', 'mlp_head.*'],
  ],
  heads: (c) => ({
    pooler: {
      kind: 'pooler',
      when: 'vit.pooler.dense.weight',
      options: { dim: c.hidden_size },
      weights: [['vit.pooler.dense.*', 'dense.*']],
    },
  }),
})
