/** What does the work of a run: a model and its optimizer, here or in a worker. */
import type { CrossEntropyOptions } from '../tensor/operations.js'
import type { RandomState } from '../tensor/random.js'
import type { TrainBatch } from './batches.js'
import type { StepResult } from './step-options.js'

/** What makes a loss of what `forward` gives, and of the `target` of a batch. */
export interface RunObjective {
  kind: 'cross_entropy' | 'mse'
  options: CrossEntropyOptions
}

/** What an error about a loss that is not finite says of the run. */
export interface RunPlace {
  step: number
  last_checkpoint: string | null
}

/** What a step of a run is told. */
export interface EngineStep {
  batches: readonly TrainBatch[]
  /** The share of each batch in the step; null: all have the same. */
  shares: readonly number[] | null
  lr: number
  max_grad_norm: number
  /** The largest size of an element of the gradients; null: any. */
  max_grad_value: number | null
  place: RunPlace
}

/** A model and its optimizer, as a run needs them. */
export interface Engine {
  /** The rate of the first group, which a run without a schedule keeps. */
  readonly lr: number
  /**
   * A step; groups keep the ratios of their rates.
   *
   * @throws XTransformersError (`not_finite`); the weights stay as they are
   */
  step(settings: EngineStep): Promise<StepResult>
  /** The number of tokens of a batch, by shapes alone. */
  tokens(batch: TrainBatch): number
  /** The number of tokens of a batch that count for its loss. */
  countedTokens(batch: TrainBatch): Promise<number>
  /** The loss of a batch, without gradients. */
  evaluate(batch: TrainBatch): Promise<number>
  /** Writes weights and optimizer to these names. */
  save(model: string, optimizer: string): Promise<void>
  /** Reads what `save` has written. */
  load(model: string, optimizer: string): Promise<void>
  /** Where the random numbers are that the model draws. */
  random(): Promise<RandomState>
  setRandom(state: RandomState): Promise<void>
}

/** The target that counts for nothing, where nobody has named another one. */
export const IGNORED = -100

/** Makes the engine of an optimizer in a worker, and of its model. */
export const ENGINE: unique symbol = Symbol('x-transformers.engine')

/** An optimizer that has its own way to train: one in a worker. */
export interface EngineOptimizer {
  /** @throws XTransformersError (`invalid_argument`) where the model is not one of its worker */
  [ENGINE](model: unknown, objective: RunObjective | null): Engine
}

/** A model that such an optimizer trains. */
export interface EngineModel {
  readonly ready: Promise<unknown>
  train(on?: boolean): unknown
  eval(): unknown
}

/** The rates of groups as parts of that of the first. */
export function ratiosOf(rates: readonly number[]): number[] {
  const [first] = rates
  return rates.map((lr) => (first ? lr / first : 1))
}
