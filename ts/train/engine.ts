/** What does the work of a run: a model and its optimizer, here or in a worker. */
import type { Target } from '../io/sources.js'
import type { CrossEntropyOptions } from '../tensor/operations.js'
import type { RandomState } from '../tensor/random.js'
import type { TrainBatch } from './batches.js'
import type { ModelInfo } from './run-info.js'
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
  /** Whether the norms of gradients are wanted for each layer. */
  grad_norms: boolean
  /** Whether the norms of the outputs of layers are wanted. */
  activation_norms: boolean
}

/** What a step of a run tells. */
export interface EngineResult extends StepResult {
  /** By layer; null where they were not wanted. */
  grad_norms: Record<string, number> | null
  activation_norms: Record<string, number> | null
}

/** Where tensors of a run are kept. */
export interface EngineFiles {
  model: string
  optimizer: string
  ema: string
}

/** What an engine is told besides model and optimizer. */
export interface EngineSettings {
  objective: RunObjective | null
  /** Absent: there are no averages of the weights. */
  ema: { decay: number; warmup: boolean } | null
}

/** Averages of the weights, wherever they are. */
export interface EngineAverages {
  readonly decay: number
  /** Copies them into the model for good. */
  copyTo(): Promise<void> | void
  /** Puts them in the place of the weights, until `restore`. */
  apply(): Promise<void>
  restore(): Promise<void>
  /** Writes a model file with them. */
  save(target: Target): Promise<void>
}

/** A model and its optimizer, as a run needs them. */
export interface Engine {
  /** The averages of the weights. */
  readonly ema: EngineAverages | null
  /** The rate of the first group, which a run without a schedule keeps. */
  readonly lr: number
  /**
   * A step; groups keep the ratios of their rates.
   *
   * @throws XTransformersError (`not_finite`); the weights stay as they are
   */
  step(settings: EngineStep): Promise<EngineResult>
  /** What loggers are told of the model and its optimizer. */
  describe(): Promise<ModelInfo>
  /** The number of tokens of a batch, by shapes alone. */
  tokens(batch: TrainBatch): number
  /** The number of tokens of a batch that count for its loss. */
  countedTokens(batch: TrainBatch): Promise<number>
  /** The loss of a batch, without gradients. */
  evaluate(batch: TrainBatch): Promise<number>
  /** Puts averages of the weights in their place, or the weights back, where there are averages. */
  useAverages(on: boolean): Promise<void>
  /** Writes weights, optimizer and, where there are, averages to these names. */
  save(files: EngineFiles): Promise<void>
  /** Reads what `save` has written. */
  load(files: EngineFiles): Promise<void>
  /** Where the random numbers are that the model draws. */
  random(): Promise<RandomState>
  setRandom(state: RandomState): Promise<void>
}

/** An objective as evaluations measure it: without label smoothing, which is for training. */
export const measured = (objective: RunObjective | null): RunObjective | null =>
  objective && { ...objective, options: { ...objective.options, label_smoothing: undefined } }

/** The target that counts for nothing, where nobody has named another one. */
export const IGNORED = -100

/** Makes the engine of an optimizer in a worker, and of its model. */
export const ENGINE: unique symbol = Symbol('x-transformers.engine')

/** An optimizer that has its own way to train: one in a worker. */
export interface EngineOptimizer {
  /** @throws XTransformersError (`invalid_argument`) where the model is not one of its worker */
  [ENGINE](model: unknown, settings: EngineSettings): Engine
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
