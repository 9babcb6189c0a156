/** What does the work of a run: a model and its optimizer, here or in a worker. */
import { XTransformersError } from '../errors.js'
import type { Module } from '../module/module.js'
import { tidy } from '../tensor/memory.js'
import type { CrossEntropyOptions } from '../tensor/operations.js'
import type { TrainBatch } from './batches.js'
import type { Optimizer } from './optimizer.js'
import { type Batch, evaluateLoss, type Forward, inTurn, runStep } from './step.js'
import type { StepResult } from './step-options.js'

/** What makes a loss of what `forward` gives, and of the `target` of a batch. */
export interface RunObjective {
  kind: 'cross_entropy' | 'mse'
  options: CrossEntropyOptions
}

/** What a step of a run is told. */
export interface EngineStep {
  batches: readonly TrainBatch[]
  /** The share of each batch in the step. */
  shares: readonly number[] | null
  lr: number
  max_grad_norm: number
  /** The names of checkpoints, for an error. */
  last_checkpoint: string | null
  step: number
}

export class Engine {
  readonly #model: Module
  readonly #optimizer: Optimizer<{ lr?: number }>
  readonly #objective: RunObjective | null
  /** The rate of each group as a part of that of the first, as the optimizer was made. */
  readonly #rates: readonly number[]

  constructor(
    model: Module,
    optimizer: Optimizer<{ lr?: number }>,
    objective: RunObjective | null,
  ) {
    this.#model = model
    this.#optimizer = optimizer
    this.#objective = objective
    const rates = optimizer.param_groups.map(({ lr }) => lr)
    const [first] = rates
    this.#rates = rates.map((lr) => (first ? lr / first : 1))
  }

  /** The rate of the first group, which a run without a schedule keeps. */
  get lr(): number {
    return this.#optimizer.lr
  }

  async step(settings: EngineStep): Promise<StepResult> {
    for (const [i, group] of this.#optimizer.param_groups.entries())
      Object.assign(group, { lr: settings.lr * (this.#rates[i] as number) })
    const { max_grad_norm, shares } = settings
    return await inTurn(this.#optimizer, () =>
      runStep(this.#model as Forward, this.#optimizer, {
        batches: settings.batches.map(asBatch),
        objective: this.#objective,
        max_grad_norm,
        shares,
        signal: undefined,
        before_update: (result) => this.#requireFinite(result, settings),
      }),
    )
  }

  /** The loss of a batch, without gradients. */
  async evaluate(batch: TrainBatch): Promise<number> {
    return await evaluateLoss(this.#model as Forward, asBatch(batch), this.#objective)
  }

  async save(model: string, optimizer: string): Promise<void> {
    await this.#model.save(model)
    await this.#optimizer.save(optimizer)
  }

  async load(model: string, optimizer: string): Promise<void> {
    await this.#model.loadWeights(model)
    await this.#optimizer.load(optimizer)
  }

  /** An error where the loss or the gradients are not finite; the weights stay as they are. */
  #requireFinite(result: StepResult, { step, last_checkpoint }: EngineStep): void {
    const { loss, grad_norm } = result
    if (Number.isFinite(loss) && Number.isFinite(grad_norm)) return
    const what = Number.isFinite(loss) ? 'the norm of the gradients' : 'the loss'
    const value = Number.isFinite(loss) ? grad_norm : loss
    const largest = largestGradients(this.#model)
      .map(({ name, norm }) => `${name} (${norm.toPrecision(3)})`)
      .join(', ')
    const checkpoint = last_checkpoint
      ? `The last checkpoint is ${last_checkpoint}.`
      : 'There is no checkpoint.'
    throw new XTransformersError(
      'not_finite',
      `${what} is ${value} at step ${step}, and the weights are those before it: lower the learning rate, clip the gradients, or look at the data. The largest gradients: ${largest || 'none'}. ${checkpoint}`,
    )
  }
}

const asBatch = (batch: TrainBatch): Batch => ({
  args: () => batch.args,
  target: () => batch.target,
  free: () => {},
})

/** The largest norms of gradients, first those that are not finite. */
function largestGradients(model: Module): { name: string; norm: number }[] {
  const norms = [...model.namedParameters()].flatMap(([name, { grad }]) => {
    if (grad === null) return []
    const norm = tidy(() => Number(grad.mul(grad).sum().sqrt().item()))
    return [{ name, norm }]
  })
  const order = (norm: number) => (Number.isFinite(norm) ? norm : Number.POSITIVE_INFINITY)
  return norms
    .sort((a, b) => (order(a.norm) === order(b.norm) ? 0 : order(b.norm) - order(a.norm)))
    .slice(0, 5)
}
