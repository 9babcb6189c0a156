import type { AdamOptions, AdamWOptions, SGDOptions } from '../models/options.gen.js'
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
