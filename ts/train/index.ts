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
export { clipGradNorm, clipGradNormSync, clipGradValue, clipGradValueSync } from './clip.js'
export { type DecayGroup, decayGroups } from './decay-groups.js'
export { EMA } from './ema.js'
export type { EMAOptions } from './ema-options.js'
export type { EMAState } from './ema-state.js'
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
export type { ParamGroup } from './groups.js'
export { jsonlLogger, type MetricsLine, type RunLine, readMetrics } from './log-files/jsonl.js'
export { tensorboardLogger } from './log-files/tensorboard.js'
export type { Logger } from './loggers.js'
export { LoRA, type LoRALoadOptions } from './lora.js'
export type { LoRAOptions } from './lora-options.js'
export type { NormOptions, SampleOptions } from './observe-options.js'
export type { StateReadOptions } from './optimizer.js'
export { Adafactor, Adam, AdamW, Lion, Muon, SGD } from './optimizers.js'
export type { ModelInfo, RunInfo } from './run-info.js'
export type {
  OptimizerState,
  ParameterState,
  PyTorchState,
  SavedGroup,
} from './saved-state.js'
export {
  constant,
  cosineWarmup,
  inverseSqrt,
  linearDecay,
  linearWarmup,
  type Schedule,
  warmupStableDecay,
} from './schedules.js'
export type { StateFormat, StateSaveOptions } from './state-files.js'
export { type Objective, type TrainStepOptions, trainStep } from './step.js'
export type { StepResult } from './step-options.js'
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
