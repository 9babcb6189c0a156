/**
 * The transformer library x-transformers for TypeScript.
 *
 * @packageDocumentation
 */
import './symbols.js'

export type { Ids, Mask, NestedArray, Vectors, WholeArray } from './arguments.js'
export type { CallControl } from './calls.js'
export {
  type LoadOptions,
  load,
  loadSync,
  loadTensors,
  loadTensorsSync,
  saveTensors,
  saveTensorsSync,
} from './checkpoint.js'
export {
  arange,
  type FromDataOptions,
  full,
  ones,
  rand,
  randint,
  randn,
  type TensorOptions,
  tensor,
  zeros,
} from './creation.js'
export type { TensorData, TypedArray } from './data.js'
export { describe, type ModelDescription } from './describe.js'
export { type ErrorCode, type Problem, XTransformersError } from './errors.js'
export type { SyncTensorSource, TensorFile, TensorReadOptions, TensorSource } from './files.js'
export { noGrad } from './grad-mode.js'
export { type Memory, memory, tidy } from './memory.js'
export * from './models/index.js'
export { type LoadWeightsOptions, Module, type Quantization, type StateDict } from './module.js'
export type { DType } from './native.js'
export { cat, crossEntropy, logSoftmax, matmul, mse, softmax, stack, top_a, top_k, top_p, where } from './ops.js'
export type * from './options.gen.js'
export { manualSeed } from './random.js'
export { info, type RuntimeInfo, setNumThreads } from './runtime.js'
export type { Source, SyncSource, Target } from './sources.js'
export type { LoadResult, LoadStateOptions, Mismatch } from './state.js'
export type { FileHandle, Progress, ReadOptions } from './streams.js'
export { type BackwardOptions, type Device, type Nested, Tensor } from './tensor.js'
export type { Axes, CrossEntropyOptions, ReduceOptions } from './tensor-ops.js'
export { clipGradNorm, clipGradNormSync } from './train/clip.js'
export type { ParamGroup } from './train/groups.js'
export type { StateReadOptions } from './train/optimizer.js'
export { Adam, AdamW, SGD } from './train/optimizers.js'
export type {
  OptimizerState,
  ParameterState,
  PyTorchState,
  SavedGroup,
  StateFormat,
  StateSaveOptions,
} from './train/saved-state.js'
export { constant, cosineWarmup, linearWarmup, type Schedule } from './train/schedules.js'
export type { ModelTree } from './tree.js'
