/**
 * Every message between the page and the worker. What crosses is copied by structured cloning, or
 * transferred.
 */

import type { Progress } from '../control.js'
import type { ErrorCode, Problem } from '../errors.js'
import type { DType } from '../native/native.js'
import type { RuntimeInfo } from '../native/runtime.js'
import type { TypedArray } from '../tensor/data.js'
import type { Memory } from '../tensor/memory.js'
import type { RandomState } from '../tensor/random.js'
import type { EngineResult, RunPlace } from '../train/engine.js'
import type { ModelInfo } from '../train/run-info.js'
import type { StepResult } from '../train/step-options.js'

/**
 * A call, or an object (a model, an optimizer). The page counts up from 1; the worker counts down
 * from -1 for models within a loaded one.
 */
export type Id = number

/** A tensor: its values in row-major order, as `Tensor.data()` gives them. */
export interface WireTensor {
  data: TypedArray
  shape: readonly number[]
  dtype: DType
}

/**
 * Arguments and results: anything that structured cloning takes, in which `{ $tensor: WireTensor }`
 * stands for a tensor and `{ $object: Id }` for a model.
 */
export type Wire = unknown

export interface WireError {
  name: string
  message: string
  /** Of an XTransformersError. */
  code: ErrorCode | null
  problems: readonly Problem[]
}

/** How the library in the worker is started. */
export interface InitSettings {
  threads?: number | 'auto'
  url?: string
  threads_url?: string
  bytes?: ArrayBuffer | ArrayBufferView
  module?: object
}

/** A loaded model. */
export interface WireModel {
  object: Id
  class: string
  /** The models within, by the option's name. */
  inner: Record<string, WireModel>
}

/** Parameters of an optimizer that share their settings. */
export interface WireGroup {
  model: Id
  /** Null: all of the model. */
  params: readonly string[] | null
  settings: Wire
}

/** What makes a loss of what `forward` gives; the targets are one for each batch. */
export interface WireObjective {
  kind: 'cross_entropy' | 'mse'
  targets: Wire[]
  options: Wire
}

export interface WireStep {
  model: Id
  optimizer: Id
  /** Arguments of `forward`. */
  batches: Wire[][]
  objective: WireObjective | null
  max_grad_norm: number | null
  max_grad_value: number | null
  /** The share of each batch in the step; null: all have the same. */
  shares: readonly number[] | null
}

/** A step of a run, whose loss and gradients must be finite. */
export interface WireRunStep extends WireStep {
  place: RunPlace
  /** Whether the norms of gradients are wanted for each layer. */
  grad_norms: boolean
  /** Whether the norms of the outputs of layers are wanted. */
  activation_norms: boolean
}

/** Learning rates by the class of the optimizer. */
export type LearningRates = Readonly<Record<string, number>>

/** What the worker can be asked: parameters, and the result. */
export interface Operations {
  info: [params: null, result: RuntimeInfo]
  memory: [params: null, result: Memory]
  seed: [params: { seed: number }, result: null]
  random: [params: null, result: RandomState]
  setRandom: [params: RandomState, result: null]
  construct: [params: { object: Id; class: string; args: Wire[] }, result: null]
  optimizer: [
    params: { object: Id; class: string; groups: WireGroup[]; options: Wire },
    result: null,
  ]
  ema: [params: { object: Id; model: Id; options: Wire }, result: null]
  /** `source`: of the file that it is in, where it is no new one. */
  lora: [params: { object: Id; model: Id; options: Wire; source?: unknown }, result: null]
  /** The updates that a model has. */
  lorasOf: [params: { model: Id; freeze: boolean }, result: Id[]]
  load: [params: { object: Id; source: unknown; options: Wire }, result: WireModel]
  /**
   * A method of a model, an optimizer, an EMA or a LoRA. `unawaited`: nobody looks at its error,
   * the next call on the object shall have it.
   */
  call: [params: { object: Id; method: string; args: Wire[]; unawaited?: boolean }, result: Wire]
  /** The tokens come as items, as many as were pulled. */
  stream: [params: { object: Id; args: Wire[] }, result: null]
  trainStep: [params: WireStep, result: StepResult]
  runStep: [params: WireRunStep, result: EngineResult]
  describeRun: [params: { model: Id; optimizer: Id }, result: ModelInfo]
  /** The loss of a batch, without gradients. */
  evaluate: [params: { model: Id; batch: Wire[]; objective: WireObjective | null }, result: number]
}

export type Operation = keyof Operations
export type Params<K extends Operation> = Operations[K][0]
export type Result<K extends Operation> = Operations[K][1]

export type Request<K extends Operation = Operation> = {
  [Op in K]: { type: 'request'; id: Id; op: Op; params: Params<Op>; abortable: boolean }
}[K]

export type ToWorker =
  /** The first message. */
  | { type: 'init'; settings: InitSettings }
  | Request
  /** Nobody wants the result of a call any more; also ends a stream. */
  | { type: 'abort'; id: Id }
  /** So many more tokens of a stream may be made. */
  | { type: 'pull'; id: Id; count: number }
  /**
   * Objects that the page has disposed, or, as `lost`, has no reference to any more: then the
   * models within may still be in use.
   */
  | { type: 'dispose'; objects: Id[]; lost: boolean }

export type FromWorker =
  /** Answers to `init`. `learning_rates`: the default of each optimizer, by its class. */
  | { type: 'ready'; learning_rates: LearningRates }
  | { type: 'failed'; error: WireError }
  | { type: 'result'; id: Id; value: unknown }
  | { type: 'error'; id: Id; error: WireError }
  | { type: 'progress'; id: Id | null; progress: Progress }
  | { type: 'item'; id: Id; value: number | number[] }
  /** The native side has broken down: nothing works any more. */
  | { type: 'crashed'; error: WireError }

/** One end of the connection: a Worker, what a worker sees of itself, or a MessagePort. */
export interface Port {
  postMessage(message: unknown, transfer: object[]): void
  // biome-ignore lint/suspicious/noExplicitAny: fits Workers and MessagePorts, also without the DOM
  addEventListener(type: string, listener: (event: any) => void): void
  // biome-ignore lint/suspicious/noExplicitAny: as above
  removeEventListener(type: string, listener: (event: any) => void): void
  /** Of a MessagePort. */
  start?(): void
  close?(): void
  /** Of a Worker. */
  terminate?(): unknown
  /** Of Node's ports: whether it keeps the process going. */
  ref?(): void
  unref?(): void
}
