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
  type EngineFiles,
  type EngineResult,
  type EngineSettings,
  type EngineStep,
  IGNORED,
  measured,
  type RunObjective,
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
export class LocalEngine implements Engine {
  readonly #model: Module
  readonly #optimizer: LocalOptimizer
  readonly #objective: RunObjective | null
  readonly #ratios: readonly number[]
  /** The averages of the weights. */
  readonly ema: EMA | null

  constructor(model: Module, optimizer: LocalOptimizer, { objective, ema }: EngineSettings) {
    this.#model = model
    this.#optimizer = optimizer
    this.#objective = objective
    this.#ratios = ratiosOf(optimizer.param_groups.map(({ lr }) => lr))
    this.ema = ema && new EMA(model, ema)
  }

  get lr(): number {
    return this.#optimizer.lr
  }

  async step({ batches, shares, lr, ...settings }: EngineStep) {
    for (const [i, group] of this.#optimizer.param_groups.entries())
      Object.assign(group, { lr: lr * (this.#ratios[i] as number) })
    const { max_grad_norm, max_grad_value } = settings
    const result: EngineResult = await measuredStep(this.#model, settings, (before_update) =>
      inTurn(this.#optimizer, () =>
        runStep(this.#model as Forward, this.#optimizer, {
          batches: batches.map(asBatch),
          objective: this.#objective,
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
    return modelInfo(this.#model, this.#optimizer)
  }

  tokens(batch: TrainBatch): number {
    return tokensIn(batch, this.#model instanceof AutoregressiveWrapper)
  }

  async countedTokens(batch: TrainBatch): Promise<number> {
    const model = this.#model
    const predicts = model instanceof AutoregressiveWrapper
    const own = predicts ? model.options.ignore_index : undefined
    const ignored = this.#objective?.options.ignore_index ?? own ?? IGNORED
    return countedTokens(batch, { predicts, ignored, countTensor })
  }

  async evaluate(batch: TrainBatch): Promise<number> {
    return await evaluateLoss(this.#model as Forward, asBatch(batch), measured(this.#objective))
  }

  async useAverages(on: boolean): Promise<void> {
    await (on ? this.ema?.apply() : this.ema?.restore())
  }

  async save({ model, optimizer, ema }: EngineFiles): Promise<void> {
    await this.#model.save(model)
    await this.#optimizer.save(optimizer)
    await this.ema?.save(ema)
  }

  async load({ model, optimizer, ema }: EngineFiles): Promise<void> {
    await this.#model.loadWeights(model)
    await this.#optimizer.load(optimizer)
    await this.ema?.load(ema)
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
