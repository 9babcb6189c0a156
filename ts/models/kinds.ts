/**
 * The models that options name, as types: the options of a class must not import other classes,
 * whose options are in the same file.
 */
import type { Ids, Vectors } from '../tensor/arguments.js'
import type { Tensor } from '../tensor/tensor.js'
import type { NativeModel } from './native-model.js'

/** For the compiler alone: sets models apart that have the same methods. */
export declare const KIND: unique symbol

/** An `Encoder`, a `Decoder`, a `CrossAttender` or a `TransformerBlock`. */
export interface Layers extends NativeModel {
  readonly [KIND]: 'layers'
  forward(x: Vectors): Promise<Tensor>
}

export type Encoder = Layers
export type Decoder = Layers

/** A `TransformerWrapper`. */
export interface TransformerWrapper extends NativeModel {
  readonly [KIND]: 'TransformerWrapper'
  readonly attn_layers: Layers
  forward(x: Ids): Promise<Tensor>
}
