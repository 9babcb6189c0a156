/**
 * The transformer library x-transformers for TypeScript.
 *
 * @packageDocumentation
 */
import './symbols.js'

export type { CallControl, Progress, ReadOptions } from './control.js'
export { type ErrorCode, type Problem, XTransformersError } from './errors.js'
export type { FileHandle } from './io/platform.js'
export type { Source, SyncSource, Target } from './io/sources.js'
export type {
  SyncTensorSource,
  TensorFile,
  TensorReadOptions,
  TensorSource,
} from './io/tensor-files.js'
export { loadTensors, loadTensorsSync, saveTensors, saveTensorsSync } from './io/tensors.js'
export { type DescribedParameter, describe, type ModelDescription } from './models/describe.js'
export { top_a, top_k, top_p } from './models/filters.js'
export * from './models/index.js'
export { type LoadOptions, load, loadSync } from './models/load.js'
export type * from './models/options.gen.js'
export type { WeightsDialect, XTransformers2Weights } from './module/dialects/dialect.js'
export type { StateDict } from './module/entries.js'
export type { LoadWeightsOptions } from './module/loading.js'
export type { MuonGroup } from './module/matrices.js'
export { Module } from './module/module.js'
export type { NamePattern } from './module/patterns.js'
export type { LoadResult, LoadStateOptions, Mismatch } from './module/state.js'
export type { Quantization } from './module/submodule.js'
export type { ModelTree } from './module/tree.js'
export type { DType } from './native/native.js'
export {
  type CudaDevice,
  type CudaInfo,
  cudaInfo,
  cudaIsAvailable,
  type Fallback,
  info,
  type RuntimeInfo,
  setNumThreads,
} from './native/runtime.js'
export type { Ids, Mask, Vectors } from './tensor/arguments.js'
export type { NestedArray, WholeArray } from './tensor/arrays.js'
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
} from './tensor/creation.js'
export type { Nested, TensorData, TypedArray } from './tensor/data.js'
export { getDefaultDevice, setDefaultDevice } from './tensor/default-device.js'
export type { Device } from './tensor/device.js'
export type { ClampOptions } from './tensor/elementwise.js'
export {
  cat,
  crossEntropy,
  logSoftmax,
  matmul,
  mse,
  softmax,
  stack,
  where,
} from './tensor/functions.js'
export { noGrad } from './tensor/grad-mode.js'
export { fullLike, onesLike, randLike, randnLike, zerosLike } from './tensor/like.js'
export { type Memory, memory, tidy } from './tensor/memory.js'
export type { Axes, ReduceOptions } from './tensor/op-base.js'
export type { CrossEntropyOptions } from './tensor/operations.js'
export { manualSeed } from './tensor/random.js'
export type {
  NormOptions,
  Sorted,
  SortOptions,
  SpreadOptions,
  TopkOptions,
} from './tensor/reductions.js'
export { type BackwardOptions, Tensor } from './tensor/tensor.js'
export * from './train/loop.js'
