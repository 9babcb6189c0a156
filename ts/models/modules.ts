/** Single layers, the parts of a model of the user's own. */
import type { CallControl } from '../control.js'
import type { Ids, Vectors } from '../tensor/arguments.js'
import type { Tensor } from '../tensor/tensor.js'
import { NativeModel } from './native-model.js'
import type {
  DropoutOptions,
  EmbeddingOptions,
  FeedForwardOptions,
  LayerNormOptions,
  LinearOptions,
  RMSNormOptions,
} from './options.gen.js'
import { ids } from './signatures.js'

/** A layer that gives a tensor for vectors. */
abstract class VectorLayer<Options> extends NativeModel<Options> {
  /** The output for vectors; their last axis has the width of the layer. */
  override forward(x: Vectors, options?: CallControl): Promise<Tensor> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Vectors): Tensor {
    return this.callSync('forward', [x])
  }
}

/**
 * A linear layer: `y = x Wᵀ + bias`, (.., in_features) to (.., out_features). As in PyTorch,
 * `weight` is (out_features, in_features), and both start uniform within ± 1 / sqrt(in_features).
 *
 * @example
 * const head = new Linear({ in_features: 64, out_features: 10 })
 * const logits = await head.forward(x)
 */
export class Linear extends VectorLayer<LinearOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: LinearOptions) {
    super('Linear', options)
  }
}

/**
 * A table of vectors, looked up by index. As in PyTorch, `weight` is (num_embeddings,
 * embedding_dim), and starts normal with standard deviation 1.
 *
 * @example
 * const embedding = new Embedding({ num_embeddings: 256, embedding_dim: 64 })
 * const x = await embedding.forward([[1, 2, 3]]) // (1, 3, 64)
 */
export class Embedding extends NativeModel<EmbeddingOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: EmbeddingOptions) {
    super('Embedding', options, { forward: ids('x') })
  }

  /** The vectors, (.., embedding_dim), of indices, (..). */
  override forward(x: Ids, options?: CallControl): Promise<Tensor> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Ids): Tensor {
    return this.callSync('forward', [x])
  }
}

/**
 * Layer normalisation over the last axes, with `weight` and `bias`.
 * Source: <https://arxiv.org/abs/1607.06450>.
 *
 * @example
 * const norm = new LayerNorm({ normalized_shape: 64 })
 */
export class LayerNorm extends VectorLayer<LayerNormOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: LayerNormOptions) {
    super('LayerNorm', options)
  }
}

/**
 * Root mean square normalisation over the last axes, with `weight`: `x / sqrt(mean(x²) + eps)`, as
 * PyTorch's. That of the layers (`use_rmsnorm`) takes the greater of root mean square and 1e-8, and
 * names its weight `g`. Source: <https://arxiv.org/abs/1910.07467>.
 *
 * @example
 * const norm = new RMSNorm({ normalized_shape: 64 })
 */
export class RMSNorm extends VectorLayer<RMSNormOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: RMSNormOptions) {
    super('RMSNorm', options)
  }
}

/**
 * In training, elements become 0 with probability `p`, and the others are divided by `1 - p`. After
 * `eval()` it gives what it gets. Source: <https://arxiv.org/abs/1207.0580>.
 *
 * @example
 * const dropout = new Dropout({ p: 0.1 })
 */
export class Dropout extends VectorLayer<DropoutOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: DropoutOptions = {}) {
    super('Dropout', options)
  }
}

/**
 * The feed-forward of the layers alone, without norm and residual: two linear layers with an
 * activation between them. Names and shapes of its weights are those of the Python package.
 *
 * @example
 * const block = new FeedForward({ dim: 64, glu: true, swish: true })
 */
export class FeedForward extends VectorLayer<FeedForwardOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: FeedForwardOptions) {
    super('FeedForward', options)
  }
}
