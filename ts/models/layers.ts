import type { CallControl } from '../control.js'
import type { Vectors } from '../tensor/arguments.js'
import type { Tensor } from '../tensor/tensor.js'
import type { KIND } from './kinds.js'
import { NativeModel } from './native-model.js'
import type {
  AttentionCall,
  AttentionOptions,
  CrossAttenderOptions,
  DecoderOptions,
  EncoderOptions,
  LayersCall,
  TransformerBlockOptions,
} from './options.gen.js'
import type { AttentionIntermediates, LayerIntermediates, None } from './outputs.js'

type Plain = LayersCall & None<'return_hiddens'>
type WithHiddens = LayersCall & { return_hiddens: true }
type WithIntermediates = [Tensor, LayerIntermediates]

/**
 * What `Encoder`, `Decoder`, `CrossAttender` and `TransformerBlock` have in common: layers without
 * embeddings.
 */
abstract class Layers<Options> extends NativeModel<Options> {
  declare readonly [KIND]: 'layers'

  /**
   * The layers' output, (batch, length, dim), for an input of that shape; with `return_hiddens`
   * what happened within besides.
   */
  override forward(x: Vectors, options?: Plain & CallControl): Promise<Tensor>
  override forward(x: Vectors, options: WithHiddens & CallControl): Promise<WithIntermediates>
  override forward(
    x: Vectors,
    options?: LayersCall & CallControl,
  ): Promise<Tensor | WithIntermediates>
  override forward(x: Vectors, options?: LayersCall & CallControl): Promise<never> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Vectors, options?: Plain): Tensor
  forwardSync(x: Vectors, options: WithHiddens): WithIntermediates
  forwardSync(x: Vectors, options?: LayersCall): Tensor | WithIntermediates
  forwardSync(x: Vectors, options?: LayersCall): never {
    return this.callSync('forward', [x], options)
  }
}

/**
 * Layers in which every position sees every other.
 *
 * @example
 * const encoder = new Encoder({ dim: 512, depth: 6, heads: 8 })
 * const y = await encoder.forward(randn([1, 1024, 512]))
 */
export class Encoder extends Layers<EncoderOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: EncoderOptions) {
    super('Encoder', options)
  }
}

/**
 * Layers in which a position sees the earlier ones only.
 *
 * @example
 * const decoder = new Decoder({ dim: 512, depth: 6, heads: 8, rotary_pos_emb: true })
 */
export class Decoder extends Layers<DecoderOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: DecoderOptions) {
    super('Decoder', options)
  }
}

/**
 * Layers that attend to a `context` only, which every call must give.
 *
 * @example
 * const cross = new CrossAttender({ dim: 512, depth: 6 })
 * const y = await cross.forward(x, { context })
 */
export class CrossAttender extends Layers<CrossAttenderOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: CrossAttenderOptions) {
    super('CrossAttender', options)
  }
}

/**
 * One block of layers, for a model of one's own: attention, cross attention if there is a
 * `context`, and feed-forward, each with its norm and residual.
 *
 * @example
 * const block = new TransformerBlock({ dim: 512, heads: 8, causal: true })
 * const y = await block.forward(randn([1, 16, 512]))
 */
export class TransformerBlock extends Layers<TransformerBlockOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: TransformerBlockOptions) {
    super('TransformerBlock', options)
  }
}

/**
 * One attention layer, without norm and residual.
 *
 * @example
 * const attention = new Attention({ dim: 512, heads: 8, causal: true })
 * const [y, { post_softmax_attn }] = await attention.forward(randn([1, 16, 512]))
 */
export class Attention extends NativeModel<AttentionOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: AttentionOptions) {
    super('Attention', options)
  }

  /** The output, (batch, length, dim), and what the attention saw. */
  override forward(
    x: Vectors,
    options?: AttentionCall & CallControl,
  ): Promise<[Tensor, AttentionIntermediates]> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Vectors, options?: AttentionCall): [Tensor, AttentionIntermediates] {
    return this.callSync('forward', [x], options)
  }
}
