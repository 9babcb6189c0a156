import { checkFlag, checkOptions, checkSeed } from '../checks.js'
import { checkReading, checkSignal, type ReadOptions } from '../control.js'
import { XTransformersError } from '../errors.js'
import type * as Main from '../models/index.js'
import type * as kinds from '../models/kinds.js'
import type { RuntimeInfo } from '../native/runtime.js'
import type { Memory } from '../tensor/memory.js'
import type { EMAOptions } from '../train/ema-options.js'
import type { LoRAOfOptions, LoRAOptions } from '../train/lora-options.js'
import type { StepResult } from '../train/step-options.js'
import type { Connection } from './client.js'
import { RemoteEMA } from './ema.js'
import { loadLoRA, lorasOf, RemoteLoRA } from './lora.js'
import * as models from './models.gen.js'
import * as optimizers from './optimizers.js'
import type { LearningRates, WireModel } from './protocol.js'
import { LoadedRemote, type RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { packStep, type Trainable, type TrainStep } from './train-step.js'
import type { RemoteClass } from './types.js'
import { packArguments } from './values.js'

/** Options of {@link Library.load}. */
export interface WorkerLoadOptions extends ReadOptions {
  /**
   * Gives the memory of an ArrayBuffer, or of a Uint8Array that is all of one, to the worker in
   * place of a copy; the page cannot use it any more.
   *
   * @default false
   */
  transfer?: boolean | undefined
}

type ModelClass = new (
  connection: Connection,
  name: string,
  args: readonly unknown[] | LoadedRemote,
) => RemoteModel

const MODELS = models satisfies Record<string, ModelClass>

const OPTIMIZERS = {
  SGD: optimizers.SGD,
  Adam: optimizers.Adam,
  AdamW: optimizers.AdamW,
  Lion: optimizers.Lion,
  Muon: optimizers.Muon,
  Adafactor: optimizers.Adafactor,
}

type Models = typeof MODELS

/** What constructors take: all stacks of layers look alike. */
type Pairs =
  | [kinds.TransformerWrapper, models.TransformerWrapper]
  | [Main.ContinuousTransformerWrapper, models.ContinuousTransformerWrapper]
  | [kinds.Layers, models.Encoder]

type Optimizers = typeof OPTIMIZERS
type OptionsOf<O> = O extends optimizers.RemoteOptimizer<infer Options> ? Options : never

/** The classes of the main library, for the worker. */
export type LibraryClasses = {
  /**
   * As the class of this name in the main library: the same options, with models of this worker.
   */
  readonly [Name in keyof Models]: RemoteClass<
    (typeof Main)[Name],
    InstanceType<Models[Name]>,
    Pairs
  >
} & {
  /**
   * As the optimizer of this name in the main library, for all parameters of a model or for groups
   * of them.
   */
  readonly [Name in keyof Optimizers]: new (
    of: optimizers.RemoteParameters<OptionsOf<InstanceType<Optimizers[Name]>>>,
    options?: OptionsOf<InstanceType<Optimizers[Name]>>,
  ) => InstanceType<Optimizers[Name]>
} & {
  /** As `EMA` of the main library, for a model of this worker. */
  readonly EMA: new (
    model: RemoteModel,
    options?: EMAOptions,
  ) => RemoteEMA
  /** As `LoRA` of the main library, for a model of this worker. */
  readonly LoRA: {
    new (model: RemoteModel, options?: LoRAOptions): RemoteLoRA
    /** Adds the updates of a file to a model: see `LoRA.load` of the main library. */
    load(
      model: RemoteModel,
      source: WorkerSource,
      options?: Pick<LoRAOptions, 'lora_alpha' | 'use_rslora'>,
    ): Promise<RemoteLoRA>
    /** The updates that a model has, such as a loaded one: see `LoRA.of` of the main library. */
    of(model: RemoteModel, options?: LoRAOfOptions): Promise<RemoteLoRA[]>
  }
}

/**
 * The library in a worker. Everything runs in the order of the calls, one after another; a stream
 * lets others pass between two tokens.
 */
export type Library = LibraryCalls & LibraryClasses

/** The library behind a connection; `rates`: the default learning rates there. */
export function libraryOf(connection: Connection, rates: LearningRates): Library {
  const calls = new LibraryCalls(connection)
  for (const [name, Class] of Object.entries<ModelClass>(MODELS)) {
    const Bound = class extends Class {
      constructor(...args: readonly unknown[]) {
        super(connection, name, args[0] instanceof LoadedRemote ? args[0] : args)
      }
    }
    Object.defineProperty(calls, name, { value: named(Bound, name), enumerable: true })
  }
  for (const [name, Class] of Object.entries(
    OPTIMIZERS as Record<string, typeof optimizers.AdamW>,
  )) {
    const Bound = class extends Class {
      constructor(of: optimizers.RemoteParameters<object>, options: object = {}) {
        super(connection, name, of, options, rates[name] as number)
      }
    }
    Object.defineProperty(calls, name, { value: named(Bound, name), enumerable: true })
  }
  const Averages = class extends RemoteEMA {
    constructor(model: RemoteModel, options?: EMAOptions) {
      super(connection, model, options)
    }
  }
  Object.defineProperty(calls, 'EMA', { value: named(Averages, 'EMA'), enumerable: true })
  const Updates = class extends RemoteLoRA {
    constructor(model: RemoteModel, options?: LoRAOptions) {
      super(connection, model, options)
    }
    static load(model: RemoteModel, source: WorkerSource, options: LoRAOptions = {}) {
      return loadLoRA(connection, model, source, options)
    }
    static of(model: RemoteModel, options: LoRAOfOptions = {}) {
      return lorasOf(connection, model, options)
    }
  }
  Object.defineProperty(calls, 'LoRA', { value: named(Updates, 'LoRA'), enumerable: true })
  return calls as Library
}

const named = (Class: object, name: string) => Object.defineProperty(Class, 'name', { value: name })

/** What the library does besides its classes. */
export class LibraryCalls {
  readonly #connection: Connection

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** What computes in the worker, on how many threads, and why on so many. */
  info(): Promise<RuntimeInfo> {
    return this.#connection.request('info', null)
  }

  /** How much memory the library takes in the worker. */
  memory(): Promise<Memory> {
    return this.#connection.request('memory', null)
  }

  /**
   * Seeds everything random in the calls that follow: initial values, dropout, sampling. The
   * numbers are those of the main library.
   *
   * @param value a whole number from 0 to 2^53 - 1
   * @throws XTransformersError (`invalid_argument`) for any other value
   */
  manualSeed(value: number): void {
    checkSeed(value)
    this.#connection.request('seed', { seed: value }).catch(() => {})
  }

  /**
   * A whole step of training: the gradients of all batches, averaged; clipping, where it is wanted;
   * one step of the optimizer.
   *
   * @throws XTransformersError (`invalid_argument`) where `forward` gives no loss and there is no
   *   `objective`
   * @example
   * const step = { model, optimizer, batches: [[tokens]], max_grad_norm: 0.5 }
   * const { loss } = await x.trainStep(step)
   */
  async trainStep<Model extends Trainable>(step: TrainStep<Model>): Promise<StepResult> {
    const { value, transfer } = packStep(step, this.#connection)
    return await this.#connection.request('trainStep', value, {
      signal: checkSignal(step.signal),
      transfer,
    })
  }

  /**
   * Rebuilds a whole model from a checkpoint. Other calls go on meanwhile.
   *
   * @param source an address, `opfs:folder/name`, a File, the bytes ...: see {@link WorkerSource}
   * @throws XTransformersError (`file`, `invalid_checkpoint`)
   * @example
   * const model = await x.load<AutoregressiveWrapper>('/moby-dick.safetensors', {
   *   on_progress: ({ loaded, total }) => {},
   * })
   */
  async load<Model extends RemoteModel = RemoteModel>(
    source: WorkerSource,
    given: WorkerLoadOptions = {},
  ): Promise<Model> {
    const { transfer: give, signal, on_progress, ...options } = checkOptions(given, 'load()')
    const reading = checkReading({ signal, on_progress } as ReadOptions)
    const [plain] = packArguments([options], this.#connection, 'the options of load()').value
    const { value, transfer } = packSource(source, checkFlag(give, 'transfer', false))
    const object = this.#connection.next()
    const params = { object, source: value, options: plain }
    try {
      const control = { ...reading, transfer }
      return this.#adopt(await this.#connection.request('load', params, control)) as Model
    } catch (error) {
      // it may be there all the same, where an abort came too late
      this.#connection.dispose(object)
      throw error
    }
  }

  /** The page's objects for a loaded model. */
  #adopt({ object, class: name, inner }: WireModel): RemoteModel {
    const within = Object.entries(inner).map(
      ([option, model]) => [option, this.#adopt(model)] as const,
    )
    const Class = (this as unknown as Record<string, new (adopted: LoadedRemote) => RemoteModel>)[
      name
    ]
    if (!Class) throw new XTransformersError('internal', `there is no class ${name} here`)
    return new Class(new LoadedRemote(object, new Map(within)))
  }

  /**
   * Ends the worker at once and frees all its memory. Calls that wait, and every later one, reject
   * with an error of code `terminated`.
   */
  terminate(): void {
    this.#connection.terminate()
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.terminate()
  }
}
