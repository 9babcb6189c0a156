/** What a `Trainer` is told. */
import type { DatasetLike } from '../data/dataset.js'
import type { CrossEntropyOptions } from '../tensor/operations.js'
import type { Batches, RepeatableData, TrainData } from './batches.js'
import type { EMAOptions } from './ema-options.js'
import type { EngineSettings } from './engine.js'
import type { LocalOptimizer } from './local-engine.js'
import type { Logger } from './loggers.js'
import type { NormOptions, Observed, SampleOptions } from './observe-options.js'

/**
 * The learning rate of a step, counted from 0; `share` is how much of the run is done, from 0 to 1,
 * for runs whose number of steps is not known.
 */
export type RunSchedule = (step: number, share: number) => number

/** An optimizer of `x-transformers/worker`. */
export interface WorkerOptimizer {
  readonly ready: Promise<unknown>
  lr: number
}

/** The data that a run is measured on. */
export interface EvalOptions {
  /** Each evaluation goes over it once: no iterator that is used up then. */
  data: RepeatableData | DatasetLike<unknown>
  /**
   * An evaluation after so many steps, and one at the end.
   *
   * @default 250
   */
  every?: number | undefined
  /** At most so many batches; absent: all. */
  batches?: number | undefined
}

/** Where a run is kept. */
export interface CheckpointOptions {
  /** A path (Node), or `opfs:folder` (browser). Each checkpoint is a folder in it. */
  folder: string
  /** A checkpoint after so many steps, and one at the end; absent: after each evaluation. */
  every?: number | undefined
  /**
   * The last so many are kept.
   *
   * @default 2
   */
  keep?: number | undefined
  /**
   * Whether the one with the lowest loss of the evaluations is kept too.
   *
   * @default true
   */
  best?: boolean | undefined
}

/** How gradients are limited. */
export interface ClipOptions {
  /** The largest norm of all gradients. */
  norm?: number | undefined
  /** The largest size of an element. */
  value?: number | undefined
}

/** When a run ends that does not improve any more. */
export interface EarlyStopOptions {
  /** The number of evaluations without a lower loss. */
  patience: number
  /**
   * How much lower a loss must be.
   *
   * @default 0
   */
  min_delta?: number | undefined
}

/** Options of a {@link Trainer}. One of `steps`, `epochs` and `seconds` is needed. */
export interface TrainerOptions {
  /** Batches: see {@link TrainData}; or, with `batch_size`, a dataset. */
  data: TrainData | DatasetLike<unknown>
  /**
   * The number of examples in a batch: `data`, and that of `eval`, are then datasets, of which
   * DataLoaders make batches; those of `data` are shuffled.
   */
  batch_size?: number | undefined
  /**
   * What decides the order of the examples, with `batch_size`.
   *
   * @default 0
   */
  seed?: number | undefined
  /** Of this thread, or of the worker that the model is in. */
  optimizer: LocalOptimizer | WorkerOptimizer
  /** Ends the run after so many steps. */
  steps?: number | undefined
  /** Ends the run after so many epochs of the data. */
  epochs?: number | undefined
  /** Ends the run when another step would not fit into this time. */
  seconds?: number | undefined
  /** Absent: the rate of the optimizer. Groups keep the ratios of their rates. */
  schedule?: RunSchedule | undefined
  /**
   * Batches for each step; their gradients are averaged by their tokens, so that a step is that of
   * one large batch.
   *
   * @default 1
   */
  grad_accum?: number | undefined
  /**
   * The largest norm of all gradients; larger ones are scaled down. Or with a largest size of their
   * elements, which is applied first. Absent: they stay.
   */
  clip?: number | ClipOptions | undefined
  /**
   * What makes a loss of what `forward` gives and the `target` of a batch. Evaluations are without
   * its label smoothing.
   */
  objective?:
    | 'cross_entropy'
    | 'mse'
    | ({ kind: 'cross_entropy' } & CrossEntropyOptions)
    | undefined
  eval?: EvalOptions | undefined
  checkpoint?: CheckpointOptions | undefined
  /**
   * Goes on from the last checkpoint in the folder, where there is one: with its weights,
   * optimizer, place in the data and random numbers, so that the run gives what it would have
   * given. Without it, a folder that has checkpoints is refused.
   *
   * @default false
   */
  resume?: boolean | undefined
  /**
   * Averages of the weights, as those of `EMA`: a decay, or its options. Evaluations use them, and
   * checkpoints hold them beside the weights.
   */
  ema?: number | EMAOptions | undefined
  early_stop?: EarlyStopOptions | undefined
  sample?: SampleOptions | undefined
  norms?: NormOptions | undefined
  /** Who hears of the run, one after the other: see {@link Logger}. */
  loggers?: readonly Logger[] | undefined
  /** Ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal | undefined
}

/** Options whose values are checked, with their defaults. */
export interface CheckedOptions extends EngineSettings, Observed {
  data: Batches
  batch_size: number | null
  optimizer: unknown
  steps: number
  epochs: number
  seconds: number
  schedule: RunSchedule | null
  grad_accum: number
  clip: { max_grad_norm: number; max_grad_value: number | null }
  eval: { data: RepeatableData; every: number; batches: number } | null
  checkpoint: { folder: string; every: number | null; keep: number; best: boolean } | null
  resume: boolean
  early_stop: { patience: number; min_delta: number } | null
  signal: AbortSignal | undefined
}
