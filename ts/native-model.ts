import { native } from '#native'
import { type CallControl, heavy, heavySteps } from './calls.js'
import { checkOptions, checkSignal } from './checks.js'
import { describe, ownBytes } from './data.js'
import { checkArguments, decode, type Encoded, encode, encodeCall } from './encode.js'
import { OwnEntry } from './entries.js'
import { guarded } from './errors.js'
import { type Quiet, quietOf } from './grad-mode.js'
import type { TensorHandle } from './handle.js'
import { ENDED, HOLDS, hold, isHeld, requireLive } from './holders.js'
import { jsonOf } from './json.js'
import {
  ASSIGN,
  ENTRIES,
  type Entry,
  type EntrySource,
  FORGET,
  GATES,
  Module,
  type Quantization,
  type StateDict,
} from './module.js'
import type { ContextJson, ModuleDescription, NativeAbortFlag, NativeModule } from './native.js'
import { nextContext } from './random.js'
import { Gate, type Gates, mergeGates, NO_GATES, scheduleSoon, scheduleSync } from './schedule.js'
import { positionalOf } from './signatures.js'
import { HANDLE, NATIVE_MODULE } from './symbols.js'
import { checkDevice, type Device } from './tensor.js'
import { renderTree } from './tree.js'

/** A native model that was loaded: a constructor that gets this in place of options takes it over. */
export class Adopted {
  constructor(
    readonly native: NativeModule,
    /** The models within, by the name of the option. */
    readonly inner: ReadonlyMap<string, NativeModel>,
  ) {}
}

/** A call that is ready to go: everything about it was fixed when it was made. */
export interface PreparedCall {
  encoded: Encoded
  context: ContextJson
  /** The `noGrad` that it belongs to. */
  quiet: Quiet | null
  /** What it must wait for. */
  reads: Gates
  /** The weights whose graph its results may hold. */
  graph: Gates
  signal: AbortSignal | undefined
}

/** The models of this package: the weights and the computation are on the native side. */
export abstract class NativeModel<Options = unknown> extends Module<Options> {
  readonly #class: string
  readonly #native: NativeModule
  readonly #gates: Gates
  /** The models given to the constructor, by the option's name, which is also the prefix of their parameters. */
  readonly #inner: ReadonlyMap<string, NativeModel>
  readonly #own = new Map<string, OwnEntry>()
  #description: ModuleDescription | null = null
  #entries: Entry[] | null = null
  /** How it ended, in words; null while it lives. */
  #ended: string | null = null
  #released = false

  /** @internal */
  protected constructor(className: string, options: object | Adopted) {
    super()
    this.#class = className
    if (options instanceof Adopted) {
      this.#native = options.native
      this.#inner = options.inner
    } else {
      const own = checkOptions(options, className)
      const { json, modules } = encode(own)
      this.#native = guarded(() => native.construct(className, json, modules, nextContext()))
      const entries = Object.entries(own)
      this.#inner = new Map(entries.filter((entry): entry is [string, NativeModel] => entry[1] instanceof NativeModel))
    }
    for (const inner of this.#inner.values()) hold(this, inner)
    // shared weights keep the gate that they have
    this.#gates = mergeGates([new Set([new Gate()]), ...[...this.#inner.values()].map((inner) => inner.#gates)])
  }

  /** @internal The class by the name that checkpoints know. */
  get className(): string {
    return this.#class
  }

  /** The options as given to the constructor; a nested model as `{ class, options }`. */
  override get options(): Options {
    requireLive(this)
    return JSON.parse(jsonOf(this.described().options)) as Options
  }

  override train(on = true): this {
    requireLive(this)
    super.train(on)
    for (const inner of this.#inner.values()) if (inner.#ended === null) inner.train(on)
    // calls made before keep the mode that they were made in
    scheduleSoon(this.#gates, () => guarded(() => this.#native.train(on)))
    return this
  }

  override to(device: Device): this {
    const target = checkDevice(device)
    requireLive(this)
    scheduleSync('to()', NO_GATES, this.#gates, () => guarded(() => this.#native.to(target)))
    return this
  }

  override quantize(format: Quantization): this {
    requireLive(this)
    // the native side knows the formats
    const name = typeof format === 'string' ? format : describe(format)
    scheduleSync('quantize()', NO_GATES, this.#gates, () => guarded(() => this.#native.quantize(name)))
    return this
  }

  override get quantization(): Quantization | null {
    requireLive(this)
    return guarded(() => this.#native.quantization()) as Quantization | null
  }

  override async saveBytes(): Promise<Uint8Array> {
    requireLive(this)
    return ownBytes(await heavy({ reads: this.#gates, writes: NO_GATES, start: () => this.#native.saveBytes() }))
  }

  override saveBytesSync(): Uint8Array {
    requireLive(this)
    const run = () => guarded(() => this.#native.saveBytesSync())
    return ownBytes(scheduleSync('saveBytesSync()', this.#gates, NO_GATES, run))
  }

  /**
   * Frees the model and the models that it was given, once the calls made before have ended; every later use of them is an error (`disposed`).
   *
   * What another live model has within stays: two wrappers around one `net` free it with the second. So a `net` that is to be used on its own
   * after its wrapper has to wait for it, or to be in another model. A `net` that was disposed itself cannot be used any more, and its weights stay
   * until the models around it are disposed. Optimizers have to be disposed by themselves; a later step is an error (`disposed`).
   */
  override dispose(): void {
    this.#end(true)
  }

  /** @internal Ends this model alone: nobody has it any more, and those within may be in use. */
  override [FORGET](): void {
    this.#end(false)
  }

  #end(within: boolean): void {
    this.#ended ??= `this ${this.#class} was disposed`
    // a Module of the user's own cannot use it any more either
    if (this.#released || isHeld(this, isNative)) return
    const gone: NativeModel[] = []
    this.#collect(gone, within)
    scheduleSoon(this.#gates, () => {
      for (const model of gone) model.#release()
    })
  }

  /** This model, and those within it that no live one has. */
  #collect(gone: NativeModel[], within: boolean): void {
    gone.push(this)
    for (const inner of this.#inner.values()) {
      if (gone.includes(inner) || isHeld(inner, inner.#ended === null ? undefined : isNative)) continue
      if (within) inner.#ended ??= `this ${inner.#class} was disposed with the ${this.#class} that it was given to`
      if (inner.#ended !== null) inner.#collect(gone, within)
    }
  }

  #release(): void {
    if (this.#released) return
    this.#released = true
    const own = this.described().entries.filter(({ name, tied }) => !this.#shared(tied ?? name))
    for (const entry of this.#own.values()) entry.dispose()
    guarded(() => this.#native.freeWeights(jsonOf(own.map(({ name }) => name))))
    this.#native.dispose()
  }

  /** @internal */
  override get [ENDED](): string | null {
    return this.#ended
  }

  /** @internal */
  override [HOLDS](part: object): boolean {
    return [...this.#inner.values()].includes(part as NativeModel)
  }

  override toString(): string {
    if (this.#ended !== null) return `${this.#class}(disposed)`
    return renderTree(this.#class, this[ENTRIES](), this.options as Record<string, unknown>)
  }

  /** The model that was given as option `name`. */
  protected within<M extends NativeModel | undefined>(name: string): M {
    return this.#inner.get(name) as M
  }

  /** The model on the native side, for a call that was made before it was disposed. */
  protected native(): NativeModule {
    return this.#native
  }

  /** @internal */
  [NATIVE_MODULE](): NativeModule {
    requireLive(this)
    return this.#native
  }

  /** @internal */
  override [GATES](): Gates {
    return this.#gates
  }

  /** @internal */
  override [ENTRIES](): Entry[] {
    requireLive(this)
    return this.#lines()
  }

  /** Also those of a model that was disposed, while a live one has it within. */
  #lines(): Entry[] {
    this.#entries ??= this.described().entries.map(({ name, shape, kind, tied }) => {
      const source = this.#source(tied ?? name)
      return { name, shape, kind, tied, source }
    })
    return this.#entries
  }

  /** @internal */
  override [ASSIGN](state: StateDict): void {
    const tensors = [...state.values()].map((tensor) => tensor[HANDLE].settled('loadStateDict()'))
    guarded(() => this.#native.loadState(jsonOf([...state.keys()]), tensors, false))
  }

  /** @internal What the native side tells of the model. Draws no values. */
  protected described(): ModuleDescription {
    this.#description ??= JSON.parse(guarded(() => this.#native.describe())) as ModuleDescription
    return this.#description
  }

  /** Where an entry comes from: the model inside that has it, so that both give the same objects. */
  #source(name: string): EntrySource {
    const shared = this.#shared(name)
    if (shared) return shared.source
    let entry = this.#own.get(name)
    if (!entry) {
      entry = new OwnEntry(() => guarded(() => this.#native.entry(name)), this.#gates)
      this.#own.set(name, entry)
    }
    return entry
  }

  /** The line of the model within that has this entry. */
  #shared(name: string): Entry | undefined {
    const dot = name.indexOf('.')
    const rest = name.slice(dot + 1)
    const inner = this.#inner.get(name.slice(0, dot))
    // no optional chain leads to a private name
    return inner === undefined ? undefined : inner.#lines().find((entry) => entry.name === rest)
  }

  /** Fixes a call: its arguments, its random numbers, its place in the order. */
  protected prepare(
    method: string,
    positional: readonly unknown[],
    options: CallControl | null | undefined,
  ): PreparedCall {
    requireLive(this)
    const { signal: given, ...rest } = checkArguments(options, method)
    const signal = checkSignal(given)
    const encoded = encodeCall(positional, rest, positionalOf(this.#class, method))
    const handles = encoded.tensors
    const quiet = quietOf(handles)
    return {
      encoded,
      context: nextContext(quiet === null),
      quiet,
      reads: mergeGates([this.#gates, ...handles.map((handle) => handle.valueGates())]),
      graph: mergeGates([this.#gates, ...handles.map((handle) => handle.gates)]),
      signal,
    }
  }

  /** Runs a method of the native model. The result has the type that the flags of the call ask for. */
  protected async call(method: string, positional: readonly unknown[], options?: CallControl): Promise<never> {
    const call = this.prepare(method, positional, options)
    const { encoded, context, graph, quiet } = call
    const result = await this.heavy(
      call,
      (abort) => this.#native.call(method, encoded.json, pinned(encoded.tensors), context, abort),
      ({ tensors }) => {
        for (const tensor of tensors) tensor.dispose()
      },
    )
    return decode(result, graph, quiet) as never
  }

  /** As {@link call}, at once. */
  protected callSync(method: string, positional: readonly unknown[], options?: object): never {
    requireLive(this)
    const encoded = encodeCall(
      positional,
      checkArguments(options ?? {}, `${method}Sync`),
      positionalOf(this.#class, method),
    )
    try {
      return this.#callNow(method, encoded)
    } finally {
      encoded.free()
    }
  }

  #callNow(method: string, { json, tensors }: Encoded): never {
    const graph = mergeGates([this.#gates, ...tensors.map((handle) => handle.gates)])
    const reads = mergeGates([this.#gates, ...tensors.map((handle) => handle.valueGates())])
    const quiet = quietOf(tensors)
    const context = nextContext(quiet === null)
    const natives = tensors.map((handle) => handle.use())
    return scheduleSync(`${method}Sync()`, reads, NO_GATES, () =>
      decode(
        guarded(() => this.#native.callSync(method, json, natives, context)),
        graph,
        quiet,
      ),
    ) as never
  }

  /** As {@link heavy}, for what runs functions of the caller's too: see {@link heavySteps}. */
  protected heavySteps<T>(
    { encoded, reads, signal }: PreparedCall,
    start: (abort: NativeAbortFlag) => Promise<T>,
    discard: (value: T) => void,
  ): Promise<T> {
    try {
      return heavySteps({ reads, writes: NO_GATES, inputs: encoded.tensors, signal, start, discard })
    } finally {
      encoded.free()
    }
  }

  /** Runs a heavy part of a prepared call. */
  protected heavy<T>(
    { encoded, reads, signal }: PreparedCall,
    start: (abort: NativeAbortFlag) => Promise<T>,
    discard?: (value: T) => void,
  ): Promise<T> {
    try {
      return heavy({ reads, writes: NO_GATES, inputs: encoded.tensors, signal, start, ...(discard && { discard }) })
    } finally {
      // what was made for the call is pinned now
      encoded.free()
    }
  }
}

const isNative = (holder: object) => holder instanceof NativeModel

const pinned = (handles: readonly TensorHandle[]) => handles.map((handle) => handle.pinned())
