import type {
  AdafactorOptions,
  AdamOptions,
  AdamWOptions,
  LionOptions,
  MuonOptions,
  SGDOptions,
} from '../models/options.gen.js'
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

/**
 * Muon: the running average of the gradient of a matrix is made nearly orthogonal by Newton–Schulz
 * iterations, so that a step is equally large in all directions. The defaults are those of PyTorch,
 * which computes the iterations in bf16; here they are in the type of the parameter.
 * <https://kellerjordan.github.io/posts/muon/>
 *
 * It is for matrices between layers. AdamW steps the groups with `use_muon: false`: one optimizer
 * with one state, which saves, resumes and follows a schedule as any other, where two would have to
 * be kept in step. In return the format of PyTorch, whose Muon has no such groups, is for states
 * without them.
 *
 * @example
 * const optimizer = new Muon(model.muonParameters(), { lr: 1e-3, adjust_lr_fn: 'match_rms_adamw' })
 * // weight decay for matrices and embeddings alone
 * new Muon(decayGroups(model.muonParameters(), 0.1), { lr: 1e-3 })
 */
export class Muon extends Optimizer<MuonOptions> {
  /**
   * @throws XTransformersError (`invalid_options`) with every problem of the options, and where a
   *   parameter of a group with `use_muon` is no matrix
   */
  constructor(
    parameters: Iterable<Tensor> | readonly ParamGroup<MuonOptions>[],
    options: MuonOptions = {},
  ) {
    super('Muon', parameters, options)
  }
}

/**
 * Adafactor: the running average of the squared gradient of a matrix is kept as one number for each
 * row and column, so that it takes next to no memory beside the weights; steps are relative to the
 * size of the weights. The defaults are those of PyTorch. <https://arxiv.org/abs/1804.04235>
 *
 * @example
 * const optimizer = new Adafactor(model.parameters(), { lr: 0.01 })
 */
export class Adafactor extends Optimizer<AdafactorOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(
    parameters: Iterable<Tensor> | readonly ParamGroup<AdafactorOptions>[],
    options: AdafactorOptions = {},
  ) {
    super('Adafactor', parameters, options)
  }
}
