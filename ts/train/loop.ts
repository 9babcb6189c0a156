/**
 * What a training loop of one's own consists of: both `x-transformers` and `x-transformers/train`
 * have it.
 */
export { clipGradNorm, clipGradNormSync, clipGradValue, clipGradValueSync } from './clip.js'
export { EMA } from './ema.js'
export type { EMAOptions } from './ema-options.js'
export type { EMAState } from './ema-state.js'
export type { ParamGroup } from './groups.js'
export { LoRA, type LoRALoadOptions } from './lora.js'
export type { LoRAOfOptions, LoRAOptions } from './lora-options.js'
export { Adafactor, Adam, AdamW, Lion, Muon, SGD } from './optimizers.js'
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
export type { StateFormat, StateReadOptions, StateSaveOptions } from './state-files.js'
export { type Objective, type TrainStepOptions, trainStep } from './step.js'
export type { StepResult } from './step-options.js'
