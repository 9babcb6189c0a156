import type { Tensor } from '../tensor/tensor.js'

/** What attention saw, (batch, heads, queries, keys). */
export interface AttentionIntermediates {
  /** The scores, before biases and masks. */
  pre_softmax_attn: Tensor
  /** The attention map. */
  post_softmax_attn: Tensor
}

/** What happened within the layers. */
export interface LayerIntermediates {
  /** The input of each self attention before its norm, (batch, length, dim). */
  hiddens: Tensor[]
  /** Of each attention, self and cross, in order. */
  attn_intermediates: AttentionIntermediates[]
}

/** `Call` with exactly this flag on; the others of the list off. */
export type Only<Flag extends string, Others extends string> = { [K in Flag]: true } & {
  [K in Exclude<Others, Flag>]?: false
}

/** `Call` with none of these flags. */
export type None<Flags extends string> = { [K in Flags]?: false }
