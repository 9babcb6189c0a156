import { AutoregressiveWrapper } from '../models/autoregressive.js'
import type { Module } from '../module/module.js'
import { noGrad } from '../tensor/grad-mode.js'
import { tidy } from '../tensor/memory.js'
import { type RandomState, randomState, setRandomState } from '../tensor/random.js'
import type { Tensor } from '../tensor/tensor.js'
import type { TrainBatch } from './batches.js'
import { EMA } from './ema.js'
import {
  type Engine,
  EngineBase,
  type EngineResult,
  type EngineSettings,
  type EngineStep,
  IGNORED,
  measured,
  ratiosOf,
} from './engine.js'
import { measuredStep } from './grad-norms.js'
import { modelInfo } from './model-info.js'
import type { Optimizer } from './optimizer.js'
import type { ModelInfo } from './run-info.js'
import { type Batch, evaluateLoss, type Forward, inTurn, runStep } from './step.js'
import { countedTokens, tokensIn } from './token-count.js'

/** An optimizer of this thread, with settings of any kind. */
export type LocalOptimizer = Optimizer<{ lr?: number }>

/** A model of this thread. */
export class LocalEngine extends EngineBase<Module, LocalOptimizer, EMA> implements Engine {
  readonly #ratios: readonly number[]

  constructor(model: Module, optimizer: LocalOptimizer, { objective, ema }: EngineSettings) {
    super({ model, optimizer, ema: ema && new EMA(model, ema) }, objective)
    this.#ratios = ratiosOf(optimizer.param_groups.map(({ lr }) => lr))
  }

  async step({ batches, shares, lr, ...settings }: EngineStep) {
    for (const [i, group] of this.parts.optimizer.param_groups.entries())
      Object.assign(group, { lr: lr * (this.#ratios[i] as number) })
    const { max_grad_norm, max_grad_value } = settings
    const result: EngineResult = await measuredStep(this.parts.model, settings, (before_update) =>
      inTurn(this.parts.optimizer, () =>
        runStep(this.parts.model as Forward, this.parts.optimizer, {
          batches: batches.map(asBatch),
          objective: this.objective,
          max_grad_norm,
          max_grad_value,
          shares,
          signal: undefined,
          before_update,
        }),
      ),
    )
    await this.ema?.update()
    return result
  }

  async describe(): Promise<ModelInfo> {
    return modelInfo(this.parts.model, this.parts.optimizer)
  }

  tokens(batch: TrainBatch): number {
    return tokensIn(batch, this.parts.model instanceof AutoregressiveWrapper)
  }

  async countedTokens(batch: TrainBatch): Promise<number> {
    const model = this.parts.model
    const predicts = model instanceof AutoregressiveWrapper
    const own = predicts ? model.options.ignore_index : undefined
    const ignored = this.objective?.options.ignore_index ?? own ?? IGNORED
    return countedTokens(batch, { predicts, ignored, countTensor })
  }

  async evaluate(batch: TrainBatch): Promise<number> {
    return await evaluateLoss(this.parts.model as Forward, asBatch(batch), measured(this.objective))
  }

  async random(): Promise<RandomState> {
    return randomState()
  }

  async setRandom(state: RandomState): Promise<void> {
    setRandomState(state)
  }
}

/** On the device of the ids, which are not copied from there. */
function countTensor(ids: Tensor, shifted: boolean, ignored: number): number {
  const last = ids.shape.length - 1
  return tidy(() =>
    noGrad(() => {
      const targets = shifted ? ids.slice(last, 1, ids.shape[last] as number) : ids
      return Number(targets.ne(ignored).to('f32').sum().item())
    }),
  )
}

const asBatch = (batch: TrainBatch): Batch => ({
  args: () => batch.args,
  target: () => batch.target,
  free: () => {},
})
