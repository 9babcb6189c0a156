import type { AdamOptions, AdamWOptions, LionOptions, SGDOptions } from '../models/options.gen.js'
import type { Tensor } from '../tensor/tensor.js'
import type { ParamGroup } from './groups.js'
import { Optimizer } from './optimizer.js'

/**
 * Gradient descent, with momentum if wanted; PyTorch's defaults.
 *
 * @example
 * const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
 */
export class SGD extends Optimizer<SGDOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(
    parameters: Iterable<Tensor> | readonly ParamGroup<SGDOptions>[],
    options: SGDOptions = {},
  ) {
    super('SGD', parameters, options)
  }
}

/**
 * Adam, with PyTorch's defaults. <https://arxiv.org/abs/1412.6980>
 *
 * @example
 * const optimizer = new Adam(model.parameters(), { lr: 3e-4 })
 */
export class Adam extends Optimizer<AdamOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(
    parameters: Iterable<Tensor> | readonly ParamGroup<AdamOptions>[],
    options: AdamOptions = {},
  ) {
    super('Adam', parameters, options)
  }
}

/**
 * Adam with decoupled weight decay, with PyTorch's defaults. <https://arxiv.org/abs/1711.05101>
 *
 * @example
 * const optimizer = new AdamW([
 *   { params: matrices, weight_decay: 0.1 },
 *   { params: vectors, weight_decay: 0 },
 * ], { lr: 3e-4 })
 */
export class AdamW extends Optimizer<AdamWOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(
    parameters: Iterable<Tensor> | readonly ParamGroup<AdamWOptions>[],
    options: AdamWOptions = {},
  ) {
    super('AdamW', parameters, options)
  }
}

/**
 * Lion: each step goes by the learning rate along the sign of a running average of the gradient,
 * so that it takes half of the memory of AdamW. Its rate is a third to a tenth of that of AdamW,
 * its weight decay that much higher. The defaults are those of lion-pytorch.
 * <https://arxiv.org/abs/2302.06675>
 *
 * @example
 * const optimizer = new Lion(model.parameters(), { lr: 1e-4, weight_decay: 1 })
 */
export class Lion extends Optimizer<LionOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(
    parameters: Iterable<Tensor> | readonly ParamGroup<LionOptions>[],
    options: LionOptions = {},
  ) {
    super('Lion', parameters, options)
  }
}
