import type { CallControl } from '../control.js'
import type { Ids, Vectors } from '../tensor/arguments.js'
import type { Tensor } from '../tensor/tensor.js'
import type { KIND } from './kinds.js'
import type { Decoder, Encoder } from './layers.js'
import { NativeModel } from './native-model.js'
import type {
  ContinuousTransformerCall,
  ContinuousTransformerWrapperOptions,
  TransformerCall,
  TransformerWrapperOptions,
  ViTransformerCall,
  ViTransformerWrapperOptions,
} from './options.gen.js'
import type { LayerIntermediates, None, Only } from './outputs.js'
import { ids, vectors } from './signatures.js'

type Flags =
  | 'return_logits_and_embeddings'
  | 'return_intermediates'
  | 'return_embeddings_and_intermediates'
  | 'return_mems'
  | 'return_attn'
  | 'return_cache'
type With<Flag extends Flags> = TransformerCall & Only<Flag, Flags>
type Pair<Logits> = [logits: Logits, embeddings: Tensor]
type Result<Logits> =
  | Logits
  | Pair<Logits>
  | [Logits | Pair<Logits> | Tensor, Tensor[] | LayerIntermediates]

/**
 * Token embedding, attention layers and a head that gives logits. With several heads
 * (`num_output_heads`) it is a `TransformerWrapper<Tensor[]>`, whose logits are an array.
 *
 * @example
 * const model = new TransformerWrapper({
 *   num_tokens: 256,
 *   max_seq_len: 1024,
 *   attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8 }),
 * })
 * const logits = await model.forward(randint(0, 256, [1, 1024])) // (1, 1024, 256)
 */
export class TransformerWrapper<
  Logits extends Tensor | Tensor[] = Tensor,
> extends NativeModel<TransformerWrapperOptions> {
  declare readonly [KIND]: 'TransformerWrapper'

  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: TransformerWrapperOptions) {
    super('TransformerWrapper', options, { forward: ids('x') })
  }

  /** The layers that were given. */
  get attn_layers(): Encoder | Decoder {
    return this.within('attn_layers')
  }

  /**
   * Logits, (batch, length, num_tokens), for token ids, (batch, length). With class tokens
   * (`use_cls_token`) or a mean (`average_pool_embed`) there is no axis of the length.
   *
   * `return_embeddings`: the embeddings, (batch, length, dim), in their place.
   * `return_logits_and_embeddings`: both. `return_mems`: the memories for the next segment besides.
   * `return_attn`: the attention maps besides. `return_intermediates`: what happened within the
   * layers besides; `return_embeddings_and_intermediates`: that, with the embeddings.
   * `return_cache`: keys and values besides, which a later call takes as `cache`.
   */
  override forward(x: Ids, options?: TransformerCall & None<Flags> & CallControl): Promise<Logits>
  override forward(
    x: Ids,
    options: With<'return_logits_and_embeddings'> & CallControl,
  ): Promise<Pair<Logits>>
  override forward(
    x: Ids,
    options: With<'return_intermediates'> & CallControl,
  ): Promise<[Logits, LayerIntermediates]>
  override forward(
    x: Ids,
    options: With<'return_embeddings_and_intermediates'> & CallControl,
  ): Promise<[embeddings: Tensor, LayerIntermediates]>
  override forward(x: Ids, options: With<'return_mems'> & CallControl): Promise<[Logits, Tensor[]]>
  override forward(x: Ids, options: With<'return_attn'> & CallControl): Promise<[Logits, Tensor[]]>
  override forward(x: Ids, options: With<'return_cache'> & CallControl): Promise<[Logits, Tensor[]]>
  override forward(x: Ids, options?: TransformerCall & CallControl): Promise<Result<Logits>>
  override forward(x: Ids, options?: TransformerCall & CallControl): Promise<never> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Ids, options?: TransformerCall & None<Flags>): Logits
  forwardSync(x: Ids, options: With<'return_logits_and_embeddings'>): Pair<Logits>
  forwardSync(x: Ids, options: With<'return_intermediates'>): [Logits, LayerIntermediates]
  forwardSync(
    x: Ids,
    options: With<'return_embeddings_and_intermediates'>,
  ): [embeddings: Tensor, LayerIntermediates]
  forwardSync(x: Ids, options: With<'return_mems'>): [Logits, Tensor[]]
  forwardSync(x: Ids, options: With<'return_attn'>): [Logits, Tensor[]]
  forwardSync(x: Ids, options: With<'return_cache'>): [Logits, Tensor[]]
  forwardSync(x: Ids, options?: TransformerCall): Result<Logits>
  forwardSync(x: Ids, options?: TransformerCall): never {
    return this.callSync('forward', [x], options)
  }
}

type ContinuousFlags = 'return_intermediates' | 'return_attn'
type ContinuousWith<Flag extends ContinuousFlags> = ContinuousTransformerCall &
  Only<Flag, ContinuousFlags>
type ContinuousResult = Tensor | [Tensor, Tensor[] | LayerIntermediates]

/**
 * Attention layers over vectors, with projections in and out.
 *
 * @example
 * const model = new ContinuousTransformerWrapper({
 *   dim_in: 32, dim_out: 100, max_seq_len: 1024,
 *   attn_layers: new Encoder({ dim: 512, depth: 12 }),
 * })
 */
export class ContinuousTransformerWrapper extends NativeModel<ContinuousTransformerWrapperOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: ContinuousTransformerWrapperOptions) {
    super('ContinuousTransformerWrapper', options)
  }

  /** The layers that were given. */
  get attn_layers(): Encoder | Decoder {
    return this.within('attn_layers')
  }

  /** Vectors, (batch, length, dim_out), for vectors, (batch, length, dim_in). */
  override forward(
    x: Vectors,
    options?: ContinuousTransformerCall & None<ContinuousFlags> & CallControl,
  ): Promise<Tensor>
  override forward(
    x: Vectors,
    options: ContinuousWith<'return_intermediates'> & CallControl,
  ): Promise<[Tensor, LayerIntermediates]>
  override forward(
    x: Vectors,
    options: ContinuousWith<'return_attn'> & CallControl,
  ): Promise<[Tensor, Tensor[]]>
  override forward(
    x: Vectors,
    options?: ContinuousTransformerCall & CallControl,
  ): Promise<ContinuousResult>
  override forward(x: Vectors, options?: ContinuousTransformerCall & CallControl): Promise<never> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Vectors, options?: ContinuousTransformerCall & None<ContinuousFlags>): Tensor
  forwardSync(
    x: Vectors,
    options: ContinuousWith<'return_intermediates'>,
  ): [Tensor, LayerIntermediates]
  forwardSync(x: Vectors, options: ContinuousWith<'return_attn'>): [Tensor, Tensor[]]
  forwardSync(x: Vectors, options?: ContinuousTransformerCall): ContinuousResult
  forwardSync(x: Vectors, options?: ContinuousTransformerCall): never {
    return this.callSync('forward', [x], options)
  }
}

/**
 * A vision transformer: patches of an image, attention layers, and a head over their mean or a
 * class token.
 *
 * @example
 * const model = new ViTransformerWrapper({
 *   image_size: 256, patch_size: 32, num_classes: 1000,
 *   attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8 }),
 * })
 */
export class ViTransformerWrapper extends NativeModel<ViTransformerWrapperOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: ViTransformerWrapperOptions) {
    super('ViTransformerWrapper', options, { forward: vectors('img') })
  }

  /** The layers that were given. */
  get attn_layers(): Encoder {
    return this.within('attn_layers')
  }

  /**
   * Logits, (batch, num_classes), for images, (batch, channels, height, width); with
   * `return_embeddings` (batch, patches, dim), with the class token of `use_cls_token` in front.
   */
  override forward(img: Vectors, options?: ViTransformerCall & CallControl): Promise<Tensor> {
    return this.call('forward', [img], options)
  }

  /** As `forward`, at once. */
  forwardSync(img: Vectors, options?: ViTransformerCall): Tensor {
    return this.callSync('forward', [img], options)
  }
}
