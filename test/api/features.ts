import {
  type Decoder,
  type SamplingOptions,
  type StreamOptions,
  type Tensor,
  type TransformerWrapperOptions,
  tensor,
} from 'x-transformers'

export type LayerOptions = ConstructorParameters<typeof Decoder>[0]
export type Layers = Partial<LayerOptions>
export type Net = Partial<Omit<TransformerWrapperOptions, 'attn_layers'>>

/** Width of the models for these options. They have two heads and two blocks. */
export const DIM = 16

/** Options of blocks without cross attention, or of as many sub-layers as a decoder alone has. */
export const WITHOUT_CONTEXT: ReadonlySet<string> = new Set([
  'parallel_block',
  'parallel_block_shared_norm',
  'layers_execute_order',
])

/**
 * Every option of the layers, each with the options it needs to have an effect. A new option needs
 * a line, or tsc fails.
 */
export const FEATURES: Record<
  Exclude<keyof LayerOptions, 'dim' | 'cross_attend' | 'cross_attn_dim_context'>,
  Layers[]
> = {
  depth: [{ depth: 1 }, { depth: 3 }],
  heads: [{ heads: 1 }, { heads: 3 }],
  only_cross: [{ cross_attend: true, only_cross: true }],
  use_scalenorm: [{ use_scalenorm: true }],
  use_rmsnorm: [{ use_rmsnorm: true }],
  use_simple_rmsnorm: [{ use_simple_rmsnorm: true }],
  norm_eps: [{ norm_eps: 1e-3 }, { norm_eps: 1e-3, use_rmsnorm: true }],
  norm_bias: [{ norm_bias: false }],
  norm_elementwise_affine: [{ norm_elementwise_affine: false }],
  norm_add_unit_offset: [{ norm_add_unit_offset: true, use_rmsnorm: true }],
  pre_norm_has_final_norm: [{ pre_norm_has_final_norm: true, use_rmsnorm: true }],
  wrapper_norm: [{ wrapper_norm: false }],
  pre_and_post_norm: [{ pre_and_post_norm: true }],
  norm_position: [{ norm_position: 'branch' }, { norm_position: 'sandwich' }],
  parallel_block: [{ parallel_block: true }],
  parallel_block_shared_norm: [{ parallel_block: true, parallel_block_shared_norm: true }],
  branch_scale: [{ branch_scale: 0.5 }],
  use_layerscale: [{ use_layerscale: true, layerscale_init_value: 0.5 }],
  layerscale_init_value: [{ use_layerscale: true, layerscale_init_value: 0.1 }],
  rel_pos_scale: [{ rel_pos_bias: true, rel_pos_scale: 1 }],
  rotary_base: [{ rotary_pos_emb: true, rotary_base: [100, 1000] }],
  rotary_scaling: [
    { rotary_pos_emb: true, rotary_scaling: { rope_type: 'linear', factor: 2 } },
    { rotary_pos_emb: true, rotary_scaling: [null, { rope_type: 'linear', factor: 2 }] },
  ],
  rotary_partial_factor: [{ rotary_pos_emb: true, rotary_partial_factor: 0.5 }],
  rotary_interleaved: [{ rotary_pos_emb: true, rotary_interleaved: true }],
  rotary_values: [{ rotary_pos_emb: true, rotary_values: false }],
  rotary_layers: [{ rotary_pos_emb: true, rotary_layers: [true, false] }],
  rotate_num_heads: [{ rotary_pos_emb: true, rotate_num_heads: 1 }],
  rotary_interpolation_factor: [{ rotary_pos_emb: true, rotary_interpolation_factor: 2 }],
  rotary_base_rescale_factor: [{ rotary_pos_emb: true, rotary_base_rescale_factor: 2 }],
  rotary_given_pos: [{ rotary_pos_emb: true, rotary_given_pos: true }],
  weight_tie_layers: [{ weight_tie_layers: true }],
  layers_execute_order: [{ layers_execute_order: [0, 1, 2, 3, 2, 3] }],
  add_value_residual: [{ add_value_residual: true }],
  learned_value_residual_mix: [{ add_value_residual: true, learned_value_residual_mix: false }],
  attn_qk_rmsnorm_shared: [{ attn_qk_rmsnorm: true, attn_qk_rmsnorm_shared: true }],
  attn_qk_rmsnorm_add_unit_offset: [
    { attn_qk_rmsnorm: true, attn_qk_rmsnorm_add_unit_offset: true },
  ],
  attn_qkv_clip: [{ attn_qkv_clip: 0.5 }],
  attn_sublayer_dropout: [{ attn_sublayer_dropout: 0.2 }],
  ff_sublayer_dropout: [{ ff_sublayer_dropout: 0.2 }],
  alibi_pos_bias: [{ alibi_pos_bias: true }],
  alibi_num_heads: [{ alibi_pos_bias: true, alibi_num_heads: 1 }],
  alibi_learned: [{ alibi_pos_bias: true, alibi_learned: true }],
  alibi_slopes: [{ alibi_pos_bias: true, alibi_slopes: [0.5, 0.25] }],
  alibi_given_pos: [{ alibi_pos_bias: true, alibi_given_pos: true }],
  disable_abs_pos_emb: [{ disable_abs_pos_emb: true }],
  depth_scale_residual: [{ depth_scale_residual: true }],
  rel_pos_bias: [{ rel_pos_bias: true }],
  rel_pos_num_buckets: [{ rel_pos_bias: true, rel_pos_num_buckets: 8 }],
  rel_pos_max_distance: [{ rel_pos_bias: true, rel_pos_num_buckets: 8, rel_pos_max_distance: 12 }],
  dynamic_pos_bias: [{ dynamic_pos_bias: true }],
  dynamic_pos_bias_log_distance: [{ dynamic_pos_bias: true, dynamic_pos_bias_log_distance: true }],
  dynamic_pos_bias_mlp_depth: [{ dynamic_pos_bias: true, dynamic_pos_bias_mlp_depth: 1 }],
  dynamic_pos_bias_norm: [{ dynamic_pos_bias: true, dynamic_pos_bias_norm: true }],
  rotary_pos_emb: [{ rotary_pos_emb: true }],
  rotary_emb_dim: [{ rotary_pos_emb: true, rotary_emb_dim: 40, attn_dim_head: 48 }],
  rotary_xpos: [{ rotary_xpos: true }],
  rotary_xpos_scale_base: [{ rotary_xpos: true, rotary_xpos_scale_base: 8 }],
  custom_layers: [
    { custom_layers: ['f', 'a', 'a'] },
    { cross_attend: true, custom_layers: ['a', 'c', 'f', 'c'] },
  ],
  sandwich_coef: [{ sandwich_coef: 1 }],
  par_ratio: [{ par_ratio: 3 }],
  residual_attn: [{ residual_attn: true }, { residual_attn: true, pre_norm: false }],
  cross_residual_attn: [{ cross_attend: true, cross_residual_attn: true }],
  macaron: [{ macaron: true }],
  pre_norm: [{ pre_norm: false }],
  gate_residual: [{ gate_residual: true }],
  scale_residual: [{ scale_residual: true }],
  scale_residual_constant: [{ scale_residual_constant: 1.5 }],
  deepnorm: [{ deepnorm: true }],
  shift_tokens: [{ shift_tokens: 1 }, { shift_tokens: 3 }, { shift_tokens: [0, 1, 0, 2] }],
  sandwich_norm: [{ sandwich_norm: true }],
  zero_init_branch_output: [{ zero_init_branch_output: true }],
  layer_dropout: [{ layer_dropout: 0.5 }],
  gradient_checkpointing: [{ gradient_checkpointing: true }],
  cross_attn_tokens_dropout: [{ cross_attend: true, cross_attn_tokens_dropout: 0.5 }],
  attn_dim_head: [{ attn_dim_head: 6 }],
  attn_talking_heads: [{ attn_talking_heads: true }],
  attn_head_scale: [{ attn_head_scale: true }],
  attn_sparse_topk: [{ attn_sparse_topk: 3 }],
  attn_num_mem_kv: [{ attn_num_mem_kv: 2 }, { attn_num_mem_kv: 2, attn_one_kv_head: true }],
  attn_dropout: [{ attn_dropout: 0.5 }],
  attn_on_attn: [{ attn_on_attn: true }],
  attn_gate_values: [{ attn_gate_values: true }],
  attn_zero_init_output: [{ attn_zero_init_output: true }],
  attn_max_attend_past: [{ attn_max_attend_past: 3 }],
  attn_qk_norm: [{ attn_qk_norm: true }, { attn_qk_norm: true, attn_num_mem_kv: 2 }],
  attn_qk_norm_groups: [{ attn_qk_norm: true, attn_qk_norm_groups: 2 }],
  attn_qk_norm_scale: [{ attn_qk_norm: true, attn_qk_norm_scale: 4 }],
  attn_qk_norm_dim_scale: [{ attn_qk_norm: true, attn_qk_norm_dim_scale: true }],
  attn_one_kv_head: [{ attn_one_kv_head: true }],
  attn_kv_heads: [
    { heads: 4, attn_kv_heads: 2 },
    { attn_kv_heads: 1, attn_num_mem_kv: 2 },
  ],
  attn_qk_rmsnorm: [{ attn_qk_rmsnorm: true }],
  attn_qk_rmsnorm_across_heads: [{ attn_qk_rmsnorm: true, attn_qk_rmsnorm_across_heads: true }],
  attn_qk_rmsnorm_eps: [{ attn_qk_rmsnorm: true, attn_qk_rmsnorm_eps: 1e-3 }],
  attn_scale: [{ attn_scale: 0.2 }],
  attn_softclamp_logits: [{ attn_softclamp_logits: true }],
  attn_logit_softclamp_value: [{ attn_softclamp_logits: true, attn_logit_softclamp_value: 2 }],
  attn_head_learned_sink: [{ attn_head_learned_sink: true }],
  attn_add_zero_kv: [{ attn_add_zero_kv: true }],
  attn_qkv_bias: [{ attn_qkv_bias: true }],
  attn_out_bias: [{ attn_out_bias: true }],
  attn_shared_kv: [{ attn_shared_kv: true }],
  attn_value_dim_head: [{ attn_value_dim_head: 6 }],
  attn_tensor_product: [{ attn_tensor_product: true }],
  ff_mult: [{ ff_mult: 1.5 }],
  ff_inner_dim: [{ ff_inner_dim: 10 }],
  ff_activation: [
    { ff_activation: 'gelu_tanh' },
    { ff_activation: 'quick_gelu', ff_glu: true },
    { ff_activation: 'relu' },
    { ff_activation: 'sigmoid' },
  ],
  attn_k_rmsnorm: [{ attn_k_rmsnorm: true }],
  attn_project_out: [{ attn_dim_head: DIM / 2, heads: 2, attn_project_out: false }],
  ff_glu_mult_bias: [{ ff_glu: true, ff_glu_mult_bias: true }],
  ff_glu_bias: [{ ff_glu: true, ff_glu_bias: false }],
  ff_dim_out: [{ ff_dim_out: DIM }],
  ff_glu: [{ ff_glu: true }],
  ff_swish: [{ ff_swish: true }],
  ff_relu_squared: [{ ff_relu_squared: true }],
  ff_post_act_ln: [{ ff_post_act_ln: true }],
  ff_dropout: [{ ff_dropout: 0.5 }],
  ff_no_bias: [{ ff_no_bias: true }],
  ff_zero_init_output: [{ ff_zero_init_output: true }],
}

/** With these, a model gives no row of logits for each token, or takes further ids. */
type NotByToken =
  | 'return_only_embed'
  | 'use_cls_token'
  | 'num_cls_tokens'
  | 'average_pool_embed'
  | 'num_output_heads'
  | 'squeeze_out_last_dim'
  | 'embed_num_tokens'

/** The same for options outside of the layers. */
export const EMBEDDINGS: Record<
  Exclude<keyof TransformerWrapperOptions, 'attn_layers' | 'num_tokens' | NotByToken>,
  Net[]
> = {
  max_seq_len: [{ max_seq_len: 6 }],
  emb_dim: [{ emb_dim: 10 }],
  max_mem_len: [{ max_mem_len: 4 }],
  shift_mem_down: [{ max_mem_len: 4, shift_mem_down: 1 }],
  tie_embedding: [{ tie_embedding: true }],
  tie_embedding_scale: [{ tie_embedding: true, tie_embedding_scale: 0.3 }],
  emb_scale: [{ emb_scale: 2.5 }],
  logits_scale: [{ logits_scale: 0.5 }],
  logits_bias: [{ logits_bias: false }],
  logit_softclamp_value: [{ logit_softclamp_value: 0.7 }],
  logits_dim: [{ logits_dim: 9 }],
  emb_frac_gradient: [{ emb_frac_gradient: 0.5 }],
  emb_dropout: [{ emb_dropout: 0.5 }],
  use_abs_pos_emb: [{ use_abs_pos_emb: false }],
  abs_pos_emb_scale: [{ abs_pos_emb_scale: 1 }],
  scaled_sinu_pos_emb: [{ scaled_sinu_pos_emb: true }],
  num_memory_tokens: [{ num_memory_tokens: 3 }],
  post_emb_norm: [{ post_emb_norm: true }],
  l2norm_embed: [{ l2norm_embed: true }],
}

/** Fixed values of both signs. */
export const waves = (shape: number[], phase = 1): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) =>
      Math.sin(1.7 * i + phase),
    ),
    { shape },
  )

/** A mask: `1` is true, a space begins a row. */
export const bits = (rows: string): Tensor =>
  tensor(rows.split(' ').map((row) => [...row].map((bit) => bit === '1')))

/** Arguments of a generation that do not affect sampling. */
export type Inputs = Omit<StreamOptions, keyof SamplingOptions | 'cache_kv'>

export interface Along {
  layers?: Layers
  net?: Net
  /** For how many tokens it can be used; any number if absent. */
  tokens?: number
  inputs: () => Inputs
}

export const context = (): Tensor => waves([2, 5, DIM], 2)
const crossing: Layers = { cross_attend: true }

/** Further arguments for a generation of two rows, by the name of the tensor. */
export const ALONG: Record<keyof Inputs, Along[]> = {
  // padding on the left, on the right, and in the middle
  mask: ['0011 1111', '1100 1110', '0111 1011'].map((mask) => ({
    inputs: () => ({ mask: bits(mask) }),
  })),
  context: [{ layers: crossing, inputs: () => ({ context: context() }) }],
  context_mask: [
    { layers: crossing, inputs: () => ({ context: context(), context_mask: bits('11010 01111') }) },
    {
      layers: { ...crossing, attn_num_mem_kv: 2 },
      inputs: () => ({ context: context(), context_mask: bits('00000 01111') }),
    },
  ],
  attn_mask: [{ tokens: 1, inputs: () => ({ attn_mask: bits('1000 1100 0110 1011') }) }],
  self_attn_context_mask: [{ inputs: () => ({ self_attn_context_mask: bits('1011 1101') }) }],
  mems: [
    { rel_pos_bias: true },
    { shift_tokens: 1 },
    { rotary_pos_emb: true },
    { residual_attn: true },
  ].map((layers) => ({
    layers,
    net: { max_mem_len: 4 },
    inputs: () => ({ mems: [waves([2, 3, DIM], 3), waves([2, 3, DIM], 4)] }),
  })),
  context_pos: [
    {
      layers: { ...crossing, rotary_pos_emb: true },
      inputs: () => ({
        context: context(),
        context_pos: tensor([4, 0, 1, 7, 2], { dtype: 'i64' }),
      }),
    },
  ],
  mem_masks: [
    {
      layers: { rotary_pos_emb: true, attn_num_mem_kv: 1 },
      net: { max_mem_len: 4 },
      inputs: () => ({
        mems: [waves([2, 3, DIM], 3), waves([2, 3, DIM], 4)],
        mem_masks: [bits('011 101'), bits('111 000')],
      }),
    },
  ],
  restrict_to_max_seq_len: [
    {
      layers: { rotary_pos_emb: true, rotary_values: false },
      inputs: () => ({ restrict_to_max_seq_len: false }),
    },
  ],
  pos: [
    { inputs: () => ({ pos: tensor([3, 2, 1, 0], { dtype: 'i64' }) }) },
    {
      layers: { rotary_pos_emb: true, rotary_given_pos: true },
      inputs: () => ({ pos: tensor([0, 2, 4, 6], { dtype: 'i64' }) }),
    },
  ],
  prepend_embeds: [{ inputs: () => ({ prepend_embeds: waves([2, 2, DIM], 5) }) }],
  prompt_lens: [{ inputs: () => ({ prompt_lens: tensor([2, 4], { dtype: 'i64' }) }) }],
  prepend_mask: [
    {
      inputs: () => ({ prepend_embeds: waves([2, 2, DIM], 5), prepend_mask: bits('01 11') }),
    },
  ],
  embed_ids: [
    {
      net: { embed_num_tokens: { kind: 3 } },
      inputs: () => ({ embed_ids: { kind: tensor([2, 0, 1, 0], { dtype: 'i64' }) } }),
    },
  ],
  sum_embeds: [{ tokens: 1, inputs: () => ({ sum_embeds: waves([2, 4, DIM], 6) }) }],
}
