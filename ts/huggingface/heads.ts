/** Heads of encoders: small models over their last hidden state. */
import { LayerNorm, Linear } from '../models/index.js'
import { Module } from '../module/module.js'
import { zeros } from '../tensor/creation.js'
import type { Tensor } from '../tensor/tensor.js'
import type { Activation } from './config/fields.js'

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI)

/** The activations of transformers, by our names. */
const ACTIVATIONS: Readonly<Record<Activation, (x: Tensor) => Tensor>> = {
  gelu: (x) => x.gelu(),
  gelu_tanh: (x) => x.pow(3).mul(0.044715).add(x).mul(SQRT_2_OVER_PI).tanh().add(1).mul(x).mul(0.5),
  quick_gelu: (x) => x.mul(x.mul(1.702).sigmoid()),
  silu: (x) => x.silu(),
  relu: (x) => x.relu(),
  relu_squared: (x) => x.relu().square(),
  sigmoid: (x) => x.sigmoid(),
}

/**
 * What BERT makes of its first token, for tasks over the whole text: `tanh(W h[0] + b)`.
 * Source: <https://arxiv.org/abs/1810.04805>.
 */
export class Pooler extends Module {
  readonly dense: Linear

  /** @param dim the width of the hidden state, and of the result */
  constructor(dim: number) {
    super()
    this.dense = new Linear({ in_features: dim, out_features: dim })
  }

  /** (batch, dim) for the last hidden state, (batch, length, dim). */
  override async forward(hidden: Tensor): Promise<Tensor> {
    const first = await this.dense.forward(hidden.select(1, 0))
    return first.tanh()
  }
}

/** Options of a {@link MaskedHead}. */
export interface MaskedHeadOptions {
  /** The width of the hidden state. */
  dim: number
  activation: Activation
  eps: number
  /** The embedding of the tokens, (tokens, width), a parameter of the model before the head. */
  embedding: Tensor
}

/**
 * BERT's head over the vocabulary, for filling in masked tokens: a layer with an activation and a
 * norm, then the embedding of the tokens, and a bias for each.
 * Source: <https://arxiv.org/abs/1810.04805>.
 */
export class MaskedHead extends Module {
  readonly dense: Linear
  readonly norm: LayerNorm
  readonly bias: Tensor
  // a parameter of the model, and not of this one too: an optimizer takes none twice
  readonly #embedding: Tensor
  readonly #activation: Activation

  constructor({ dim, activation, eps, embedding }: MaskedHeadOptions) {
    super()
    const [tokens, width] = embedding.shape as [number, number]
    this.#activation = activation
    this.dense = new Linear({ in_features: dim, out_features: width })
    this.norm = new LayerNorm({ normalized_shape: width, eps })
    this.bias = zeros([tokens], { requires_grad: true })
    this.#embedding = embedding
  }

  /** Logits, (batch, length, tokens), for the last hidden state, (batch, length, dim). */
  override async forward(hidden: Tensor): Promise<Tensor> {
    const active = ACTIVATIONS[this.#activation](await this.dense.forward(hidden))
    const normed = await this.norm.forward(active)
    return normed.matmul(this.#embedding.transpose()).add(this.bias)
  }
}
