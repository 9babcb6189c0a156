/** What a run of a {@link Trainer} tells while it goes on. */

/** After each step. */
export interface StepEvent {
  type: 'step'
  /** The number of steps so far. */
  step: number
  /** The epoch of the data, counted from 0. */
  epoch: number
  /** The loss before the step, averaged over its batches by their tokens. */
  loss: number
  /** The learning rate of the step. */
  lr: number
  /** The norm of all gradients, before clipping; null where nobody asks for it. */
  grad_norm: number | null
  /**
   * The norms of the gradients in each layer, before clipping, by its name; null in steps where
   * `norms` does not ask for them.
   */
  grad_norms: Record<string, number> | null
  /** @internal Not measured yet. */
  activation_norms: Record<string, number> | null
  /** The number of tokens of the step. */
  tokens: number
  /** Since the start of the run, without the time before it was resumed. */
  seconds: number
  /** The mean over the steps of this process; evaluations and checkpoints do not count. */
  tokens_per_second: number
  /** How much of the run is done, from 0 to 1. */
  share: number
}

/** After each evaluation. */
export interface EvaluationEvent {
  type: 'evaluation'
  step: number
  /** The mean loss on the data of `eval`; with the option `ema`, that of the averaged weights. */
  loss: number
  /** Whether it is the lowest so far. */
  best: boolean
  /** How long it took. */
  seconds: number
}

/** After each sample. */
export interface SampleEvent {
  type: 'sample'
  step: number
  /** What `sample.make` has made. */
  text: string
}

/** After a checkpoint was written. */
export interface CheckpointEvent {
  type: 'checkpoint'
  step: number
  /**
   * Its folder, which `resume` goes on from; `model.safetensors` in it has the model, with the
   * option `ema` `ema.safetensors` the model with averaged weights.
   */
  path: string
  /** Whether it has the lowest loss of the evaluations so far. */
  best: boolean
}

/** Why a run has ended. */
export type StopReason =
  /** All steps, epochs or seconds are over. */
  | 'finished'
  /** The data has no more batches. */
  | 'data'
  /** The loss of the evaluations has not become lower for `early_stop.patience` of them. */
  | 'early_stop'
  /** The signal. */
  | 'aborted'

/** At the end. */
export interface DoneEvent {
  type: 'done'
  reason: StopReason
  steps: number
  /** Since the start of the run, with the time before it was resumed. */
  seconds: number
  /** The mean loss of the last steps, at most 50. */
  loss: number
  /** The loss of the last evaluation; null without one. */
  eval_loss: number | null
  /** The lowest loss of the evaluations, and its step; null without one. */
  best: { step: number; loss: number } | null
  tokens_per_second: number
  /** The folder of the last checkpoint; null where none was written. */
  checkpoint: string | null
  /** The model with averaged weights in it, a file for `load`; null without `ema`. */
  ema: string | null
}

/** What a {@link Trainer} tells. */
export type TrainEvent = StepEvent | EvaluationEvent | SampleEvent | CheckpointEvent | DoneEvent
