/**
 * Models off the main thread: `spawn()` starts a worker with the library in it. Tensors go there
 * and come from there as copies.
 *
 * @packageDocumentation
 */
import './symbols.js'

export type { Progress, ReadOptions } from './control.js'
export { type ErrorCode, type Problem, XTransformersError } from './errors.js'
export type { Target } from './io/sources.js'
export type { DescribedParameter, ModelDescription } from './models/describe.js'
export type { Cacheable } from './models/stepwise.js'
export type { WeightsDialect, XTransformers2Weights } from './module/dialects/dialect.js'
export type { NamePattern } from './module/patterns.js'
export type { LoadResult, LoadStateOptions, Mismatch } from './module/state.js'
export type { LoRALayers, Quantization } from './module/submodule.js'
export type { DType } from './native/native.js'
export type { RuntimeInfo } from './native/runtime.js'
export type { Nested, TensorData, TypedArray } from './tensor/data.js'
export type { Memory } from './tensor/memory.js'
export type { EMAOptions } from './train/ema-options.js'
export type { LoRAOfOptions, LoRAOptions } from './train/lora-options.js'
export type { StepResult } from './train/step-options.js'
export type { RemoteEMA } from './worker/ema.js'
export type { Library, WorkerLoadOptions } from './worker/library.js'
export type { RemoteLoRA } from './worker/lora.js'
export * from './worker/model-types.gen.js'
export type {
  Adafactor,
  Adam,
  AdamW,
  Lion,
  Muon,
  RemoteGroup,
  RemoteOptimizer,
  RemoteParameters,
  SGD,
} from './worker/optimizers.js'
export type { Port } from './worker/protocol.js'
export type { RemoteModel, RemoteMuonGroup, WorkerWeightsOptions } from './worker/remote-model.js'
export type { WorkerSource } from './worker/source.js'
export { type SpawnOptions, spawn, type WorkerModuleSource } from './worker/spawn.js'
export { HostTensor, type HostTensorOptions, type TensorInput, tensor } from './worker/tensor.js'
export type { Objective, Trainable, TrainStep } from './worker/train-step.js'
