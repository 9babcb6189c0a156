/**
 * What differs between the weights of x-transformers 2 (2.31.10) and those of 1.9.2, whose names
 * this package has. A rule is for weights by their name in the model, below its layers or its
 * wrapper; all other weights have the same name and the same values in both.
 */
import {
  byHead,
  type Change,
  fromNorm,
  fromOuterNorm,
  fromQkNorm,
  fromScale,
  identity,
  type Make,
  morePositions,
  zero,
} from './changes.js'

/** Where a weight comes from. */
export interface Rule {
  /** Its name in the model. */
  ours: RegExp
  /**
   * Its name in the file: `$1` is the first group of `ours`, `$last` the number of the last
   * sub-layer. Of several names it is the first that the file has.
   */
  theirs: readonly string[]
  /** How it follows from the tensor in the file; absent: as it is. */
  change?: Change
  /** What it is where the file has no such tensor; absent: an error. */
  otherwise?: Make
}

/**
 * The weights of stacks of layers. Levels `fn` are left out of the names: 2.x has one more around a
 * block with `depth_scale_residual`.
 */
export const LAYERS: readonly Rule[] = [
  // LayerNorm has no bias, and a weight that is called gamma
  {
    ours: /^(layers\.\d+\.0\.[012])\.weight$/,
    theirs: ['$1.gamma'],
    change: fromNorm,
  },
  { ours: /^(layers\.\d+\.0\.[012]|final_norm)\.bias$/, theirs: [], otherwise: zero },
  { ours: /^(layers\.\d+\.0\.[012])\.g$/, theirs: ['$1.g'], change: fromNorm },
  // with post-norm the last norm is that of the last sub-layer, as those of the others
  {
    ours: /^final_norm\.weight$/,
    theirs: ['final_norm.gamma', 'layers.$last.0.2.gamma'],
    change: fromNorm,
  },
  { ours: /^final_norm\.g$/, theirs: ['final_norm.g', 'layers.$last.0.2.g'], change: fromNorm },
  // LayerScale
  { ours: /^(layers\.\d+\.1)\.gamma$/, theirs: ['$1.gamma'], change: fromScale },
  // query heads stand in another order where several share a head of keys
  { ours: /^(layers\.\d+\.1\.to_q\.weight)$/, theirs: ['$1'], change: byHead(0) },
  {
    ours: /^(layers\.\d+\.1\.to_out(\.0)?\.weight)$/,
    theirs: ['$1'],
    change: byHead(1),
    // one head as wide as the model has no projection behind it
    otherwise: identity,
  },
  { ours: /^(layers\.\d+\.1\.to_v_gate\.weight)$/, theirs: ['$1'], change: byHead(0) },
  {
    ours: /^(layers\.\d+\.1\.q_rmsnorm)\.weight$/,
    theirs: ['$1.gamma'],
    change: fromQkNorm(true),
  },
  {
    ours: /^(layers\.\d+\.1\.k_rmsnorm)\.weight$/,
    theirs: ['$1.gamma'],
    change: fromQkNorm(false),
  },
  {
    ours: /^(layers\.\d+\.1)\.attend\.head_attn_sink$/,
    theirs: ['$1.attend.head_attn_sink'],
    change: byHead(0),
  },
  {
    ours: /^(layers\.\d+\.1)\.(pre|post)_softmax_talking_heads\.weight$/,
    theirs: ['$1.attend.$2_softmax_talking_heads.weight'],
    change: (x, at) => byHead(1)(byHead(0)(x, at), at),
  },
  {
    ours: /^(layers\.\d+\.1)\.head_scale_params$/,
    theirs: ['$1.head_scale_params'],
    change: byHead(1),
  },
  // gates of values and projections of attention have no bias
  {
    ours: /^(layers\.\d+\.1\.(to_v_gate|to_q|to_k|to_v|to_out|to_out\.0)\.bias)$/,
    theirs: [],
    otherwise: zero,
  },
  // the output of a feed-forward stands where the norm before it would be, if there is none
  { ours: /^(layers\.\d+\.1\.ff)\.3\.(\w+)$/, theirs: ['$1.3.$2', '$1.2.$2'] },
  { ours: /^(layers\.\d+\.1\.ff\.1)\.weight$/, theirs: ['$1.gamma'] },
  { ours: /^(layers\.\d+\.1\.ff\.1)\.bias$/, theirs: [], otherwise: zero },
  // a bias of the scores by distance, for each head
  {
    ours: /^(rel_pos\.relative_attention_bias\.weight)$/,
    theirs: ['$1'],
    change: byHead(1),
  },
  { ours: /^(rel_pos\.mlp\.\d+\.(weight|bias))$/, theirs: ['$1'], change: byHead(0) },
  // the first norm of the MLP is a LayerNorm of 2.x, the others are PyTorch's
  { ours: /^(rel_pos\.mlp\.\d+\.1)\.weight$/, theirs: ['$1.weight', '$1.gamma'] },
  { ours: /^(rel_pos\.mlp\.\d+\.1\.bias)$/, theirs: ['$1'], otherwise: zero },
]

/** The weights of wrappers around layers, besides those of the layers. */
export const WRAPPER: readonly Rule[] = [
  // the last norm belongs to the layers
  {
    ours: /^norm\.weight$/,
    theirs: ['attn_layers.final_norm.gamma', 'attn_layers.layers.$last.0.2.gamma'],
    change: fromNorm,
  },
  { ours: /^norm\.bias$/, theirs: [], otherwise: zero },
  // LayerNorms outside of the layers are not added to 1
  { ours: /^post_emb_norm\.weight$/, theirs: ['post_emb_norm.gamma'], change: fromOuterNorm },
  { ours: /^post_emb_norm\.bias$/, theirs: [], otherwise: zero },
  { ours: /^(patch_to_embedding\.[02])\.weight$/, theirs: ['$1.gamma'] },
  { ours: /^(patch_to_embedding\.[02]\.bias)$/, theirs: [], otherwise: zero },
  // one more position than there are patches, which nothing reads
  { ours: /^(pos_embedding)$/, theirs: ['$1'], change: morePositions },
  // projections to logits and of vectors have no bias
  {
    ours: /^(to_logits(\.\d+)?\.bias|project_in\.bias|project_out\.bias)$/,
    theirs: ['$1'],
    otherwise: zero,
  },
]
