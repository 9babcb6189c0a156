/**
 * Training: optimizers, schedules, single steps, and whole runs.
 *
 * @packageDocumentation
 */
import '../symbols.js'

export { clipGradNorm, clipGradNormSync } from './clip.js'
export type { ParamGroup } from './groups.js'
export type { StateReadOptions } from './optimizer.js'
export { Adam, AdamW, SGD } from './optimizers.js'
export type {
  OptimizerState,
  ParameterState,
  PyTorchState,
  SavedGroup,
  StateFormat,
  StateSaveOptions,
} from './saved-state.js'
export { constant, cosineWarmup, linearWarmup, type Schedule } from './schedules.js'
export { type Objective, type TrainStepOptions, trainStep } from './step.js'
export type { StepResult } from './step-options.js'
