/**
 * Training: optimizers, schedules, single steps, and whole runs.
 *
 * @packageDocumentation
 */
import '../symbols.js'

export { activationNorms } from './activation-norms.js'
export type {
  BatchLike,
  RepeatableData,
  StatefulData,
  TrainBatch,
  TrainData,
} from './batches.js'
export { type DecayGroup, decayGroups } from './decay-groups.js'
export type { EngineAverages } from './engine.js'
export type {
  CheckpointEvent,
  DoneEvent,
  EvaluationEvent,
  SampleEvent,
  StepEvent,
  StopReason,
  TrainEvent,
} from './events.js'
export { gradNorms } from './grad-norms.js'
export { jsonlLogger, type MetricsLine, type RunLine, readMetrics } from './log-files/jsonl.js'
export { tensorboardLogger } from './log-files/tensorboard.js'
export type { Logger } from './loggers.js'
export * from './loop.js'
export type { NormOptions, SampleOptions } from './observe-options.js'
export type { ModelInfo, RunInfo } from './run-info.js'
export { Trainer } from './trainer.js'
export type {
  CheckpointOptions,
  ClipOptions,
  EarlyStopOptions,
  EvalOptions,
  RunSchedule,
  TrainerOptions,
  WorkerOptimizer,
} from './trainer-options.js'
