import { native } from '#native'
import { checkOptions, describeValue } from '../checks.js'
import { type CallControl, checkSignal } from '../control.js'
import { guarded } from '../errors.js'
import { type Entry, type EntrySource, OwnEntry, type StateDict } from '../module/entries.js'
import { Module } from '../module/module.js'
import {
  addChild,
  CHILDREN,
  DISPOSAL,
  HAS_CHILD,
  hasLiveParent,
  identity,
  refreshParents,
  requireLive,
} from '../module/parents.js'
import { type Recorded, together, underName } from '../module/recording.js'
import { structure } from '../module/structure.js'
import {
  ASSIGN,
  CHANGE_LORA,
  CHECK_MERGE,
  ENTRIES,
  FORGET,
  LORA_LAYERS,
  type LoRAChange,
  type LoRALayers,
  METADATA,
  type Quantization,
  RECORD,
  RECORDED,
} from '../module/submodule.js'
import { renderTree } from '../module/tree.js'
import { jsonOf } from '../native/json.js'
import type {
  ContextJson,
  ModuleDescription,
  NativeAbortFlag,
  NativeModule,
  NativeResult,
} from '../native/native.js'
import { Promises } from '../promises.js'
import { GATES, HANDLE, NATIVE_MODULE, SELF } from '../symbols.js'
import { heavy, heavySteps } from '../tensor/calls.js'
import { ownBytes } from '../tensor/data.js'
import { getDefaultDevice } from '../tensor/default-device.js'
import { checkDevice, type Device } from '../tensor/device.js'
import { noGradScopeOf } from '../tensor/grad-mode.js'
import type { TensorHandle } from '../tensor/handle.js'
import { tidy } from '../tensor/memory.js'
import type { NoGradScope } from '../tensor/no-grad-scope.js'
import { noteKnown } from '../tensor/pending.js'
import { nextContext } from '../tensor/random.js'
import {
  Gate,
  type Gates,
  mergeGates,
  NO_GATES,
  runOrQueue,
  scheduleSync,
} from '../tensor/schedule.js'
import { wrap } from '../tensor/tensor.js'
import { VERSION } from '../version.js'
import { checkArguments, decode, type Encoded, encode, encodeCall } from './encode.js'
import { type Signatures, VECTORS } from './signatures.js'

/**
 * A native model that was loaded: a constructor that gets this in place of options takes it over.
 */
export class LoadedNative {
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
  noGradScope: NoGradScope | null
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
  readonly #signatures: Signatures
  readonly #gates: Gates
  /**
   * The models given to the constructor, by the option's name, which is also the prefix of their
   * parameters.
   */
  readonly #inner: ReadonlyMap<string, NativeModel>
  readonly #own = new Map<string, OwnEntry>()
  #description: ModuleDescription | null = null
  #entries: Entry[] | null = null
  /** The version of the structure that both are of. */
  #structure = 0
  /** Whether calls record the sizes of the outputs of layers. */
  #recording = false
  /** How it ended, in words; null while it lives. */
  #ended: string | null = null
  #released = false

  /** @internal */
  protected constructor(
    className: string,
    options: object | LoadedNative,
    signatures: Signatures = VECTORS,
  ) {
    super()
    this.#class = className
    this.#signatures = signatures
    if (options instanceof LoadedNative) {
      this.#native = options.native
      this.#inner = options.inner
    } else {
      const own = checkOptions(options, className)
      const { json, modules } = encode(own)
      this.#native = guarded(() =>
        native.construct(className, json, modules, getDefaultDevice(), nextContext()),
      )
      const entries = Object.entries(own)
      this.#inner = new Map(
        entries.filter((entry): entry is [string, NativeModel] => entry[1] instanceof NativeModel),
      )
    }
    for (const inner of this.#inner.values()) addChild(this, inner)
    // shared weights keep the gate that they have
    this.#gates = mergeGates([
      new Set([new Gate(this)]),
      ...[...this.#inner.values()].map((inner) => inner[SELF].#gates),
    ])
  }

  /** @internal The class by the name that checkpoints know. */
  get className(): string {
    return this[SELF].#class
  }

  /** The options as given to the constructor; a nested model as `{ class, options }`. */
  override get options(): Options {
    requireLive(this)
    return JSON.parse(jsonOf(this.described().options)) as Options
  }

  override train(on = true): this {
    requireLive(this)
    super.train(on)
    for (const inner of this[SELF].#inner.values()) if (inner[SELF].#ended === null) inner.train(on)
    // calls made before keep the mode that they were made in
    runOrQueue(this[SELF].#gates, () => guarded(() => this[SELF].#native.train(on)))
    return this
  }

  override to(device: Device): this {
    const target = checkDevice(device)
    requireLive(this)
    scheduleSync('to()', NO_GATES, this[SELF].#gates, () =>
      guarded(() => this[SELF].#native.to(target)),
    )
    return this
  }

  override quantize(format: Quantization): this {
    requireLive(this)
    // the native side knows the formats
    const name = typeof format === 'string' ? format : describeValue(format)
    scheduleSync('quantize()', NO_GATES, this[SELF].#gates, () =>
      guarded(() => this[SELF].#native.quantize(name)),
    )
    return this
  }

  override get quantization(): Quantization | null {
    requireLive(this)
    return guarded(() => this[SELF].#native.quantization()) as Quantization | null
  }

  override async saveBytes(): Promise<Uint8Array> {
    requireLive(this)
    return ownBytes(
      await heavy({
        reads: this[SELF].#gates,
        writes: NO_GATES,
        start: () => this[SELF].#native.saveBytes(),
      }),
    )
  }

  override saveBytesSync(): Uint8Array {
    requireLive(this)
    const run = () => guarded(() => this[SELF].#native.saveBytesSync())
    return ownBytes(scheduleSync('saveBytesSync()', this[SELF].#gates, NO_GATES, run))
  }

  /**
   * Frees the model and the models that it was given, once the calls made before have ended; every
   * later use of them is an error (`disposed`).
   *
   * What another live model has within stays: two wrappers around one `net` free it with the
   * second. So a `net` that is to be used on its own after its wrapper has to wait for it, or to be
   * in another model. A `net` that was disposed itself cannot be used any more, and its weights
   * stay until the models around it are disposed. Optimizers have to be disposed by themselves; a
   * later step is an error (`disposed`).
   */
  override dispose(): void {
    this[SELF].#end(true)
  }

  /** @internal Ends this model alone: nobody has it any more, and those within may be in use. */
  override [FORGET](): void {
    this[SELF].#end(false)
  }

  #end(within: boolean): void {
    this[SELF].#ended ??= `this ${this[SELF].#class} was disposed`
    // a Module of the user's own cannot use it any more either
    if (this[SELF].#released || hasLiveParent(this, isNative)) return
    if (this[SELF].#inner.size > 0) refreshParents()
    const gone: NativeModel[] = []
    this[SELF].#collect(gone, within)
    runOrQueue(this[SELF].#gates, () => {
      for (const model of gone) model.#release()
    })
  }

  /** This model, and those within it that no live one has. */
  #collect(gone: NativeModel[], within: boolean): void {
    gone.push(this)
    for (const inner of this[SELF].#inner.values()) {
      if (gone.includes(inner[SELF])) continue
      if (hasLiveParent(inner, inner[SELF].#ended === null ? undefined : isNative)) continue
      if (within)
        inner[SELF].#ended ??=
          `this ${inner[SELF].#class} was disposed with the ${this[SELF].#class} that it was given to`
      if (inner[SELF].#ended !== null) inner[SELF].#collect(gone, within)
    }
  }

  #release(): void {
    if (this[SELF].#released) return
    this[SELF].#released = true
    const own = this.described().entries.filter(
      ({ name, tied }) => !this[SELF].#shared(tied ?? name),
    )
    for (const entry of this[SELF].#own.values()) entry.dispose()
    guarded(() => this[SELF].#native.freeWeights(jsonOf(own.map(({ name }) => name))))
    this[SELF].#native.dispose()
  }

  /** @internal */
  override get [DISPOSAL](): string | null {
    return this[SELF].#ended
  }

  /** @internal */
  override [CHILDREN](): readonly object[] {
    return [...this[SELF].#inner.values()]
  }

  /** @internal */
  override [HAS_CHILD](part: object): boolean {
    return [...this[SELF].#inner.values()].some((inner) => identity(inner) === identity(part))
  }

  override toString(): string {
    if (this[SELF].#ended !== null) return `${this[SELF].#class}(disposed)`
    return renderTree(this[SELF].#class, this[ENTRIES](), this.options as Record<string, unknown>)
  }

  /** The model that was given as option `name`. */
  protected within<M extends NativeModel | undefined>(name: string): M {
    return this[SELF].#inner.get(name) as M
  }

  /** The model on the native side, for a call that was made before it was disposed. */
  protected native(): NativeModule {
    return this[SELF].#native
  }

  /** @internal */
  [NATIVE_MODULE](): NativeModule {
    requireLive(this)
    return this[SELF].#native
  }

  /** @internal */
  override [GATES](): Gates {
    return this[SELF].#gates
  }

  /** @internal As the native side writes it. */
  override [METADATA](): Record<string, string> {
    const { class: name, options, lora } = this.described()
    const description = { class: name, options, version: VERSION, ...(lora.length > 0 && { lora }) }
    return { 'x-transformers': jsonOf(description) }
  }

  /** @internal */
  override [ENTRIES](): Entry[] {
    requireLive(this)
    return this[SELF].#lines()
  }

  /** Also those of a model that was disposed, while a live one has it within. */
  #lines(): Entry[] {
    const { entries } = this.described()
    this[SELF].#entries ??= entries.map(({ name, shape, kind, tied, linear }) => {
      const source = this[SELF].#source(tied ?? name)
      return { name, shape, kind, tied, source, linear, table: this.className === 'Embedding' }
    })
    return this[SELF].#entries
  }

  /** @internal */
  override [ASSIGN](state: StateDict): void {
    const tensors = [...state.values()].map((tensor) => tensor[HANDLE].settled('loadStateDict()'))
    guarded(() => this[SELF].#native.loadState(jsonOf([...state.keys()]), tensors, false))
  }

  /** @internal */
  override [LORA_LAYERS](): LoRALayers[] {
    requireLive(this)
    return this.described().lora
  }

  /** @internal */
  override [RECORD](on: boolean): void {
    this[SELF].#recording = on
    for (const inner of this[SELF].#inner.values()) inner[RECORD](on)
  }

  /** @internal */
  override async [RECORDED](): Promise<Recorded> {
    requireLive(this)
    const start = () => this[SELF].#native.takeActivations()
    const own = heavy({ reads: this[SELF].#gates, writes: NO_GATES, start })
    // one that was disposed itself has no calls any more
    const live = [...this[SELF].#inner].filter(([, model]) => model[SELF].#ended === null)
    const inner = live.map(([name, model]) => underName(name, model[RECORDED]()))
    return together(await Promises.all([own.then(squaresIn), ...inner]))
  }

  /** @internal */
  override [CHECK_MERGE](modules: readonly string[]): void {
    guarded(() => this[SELF].#native.checkMergeLora(jsonOf(modules)))
  }

  /** @internal */
  override [CHANGE_LORA]({ modules, to, context }: LoRAChange): void {
    const native = this[SELF].#native
    try {
      guarded(() => {
        if (to === 'merge') native.mergeLora(jsonOf(modules))
        else if (to === 'remove') native.removeLora(jsonOf(modules))
        else native.addLora(jsonOf({ modules, ...to }), context ?? nextContext())
      })
    } finally {
      // a merge that fails may have merged some of the layers
      structure.version++
      this[SELF].#forgetGone()
    }
  }

  /** Drops the tensors of entries that are no more; later ones may have their names. */
  #forgetGone(): void {
    const names = new Set(this.described().entries.map(({ name }) => name))
    for (const [name, entry] of this[SELF].#own) {
      if (names.has(name)) continue
      entry.dispose()
      this[SELF].#own.delete(name)
    }
    for (const inner of this[SELF].#inner.values()) inner[SELF].#forgetGone()
  }

  /** @internal What the native side tells of the model. Draws no values. */
  protected described(): ModuleDescription {
    if (this[SELF].#structure !== structure.version) {
      this[SELF].#structure = structure.version
      this[SELF].#description = null
      this[SELF].#entries = null
    }
    this[SELF].#description ??= JSON.parse(
      guarded(() => this[SELF].#native.describe()),
    ) as ModuleDescription
    return this[SELF].#description
  }

  /**
   * Where an entry comes from: the model inside that has it, so that both give the same objects.
   */
  #source(name: string): EntrySource {
    const shared = this[SELF].#shared(name)
    if (shared) return shared.source
    let entry = this[SELF].#own.get(name)
    if (!entry) {
      entry = new OwnEntry(() => guarded(() => this[SELF].#native.entry(name)), this[SELF].#gates)
      this[SELF].#own.set(name, entry)
    }
    return entry
  }

  /** The line of the model within that has this entry. */
  #shared(name: string): Entry | undefined {
    const dot = name.indexOf('.')
    const rest = name.slice(dot + 1)
    const inner = this[SELF].#inner.get(name.slice(0, dot))
    // no optional chain leads to a private name
    return inner === undefined
      ? undefined
      : inner[SELF].#lines().find((entry) => entry.name === rest)
  }

  #encode(method: string, positional: readonly unknown[], options: object): Encoded {
    const device = () => deviceOf(this)
    return encodeCall(positional, options, this.#signatures[method] ?? [], device)
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
    const encoded = this[SELF].#encode(method, positional, rest)
    const handles = encoded.tensors
    const noGradScope = noGradScopeOf(handles, method === 'forward' ? this[SELF].#gates : NO_GATES)
    return {
      encoded,
      context: nextContext(noGradScope === null, this[SELF].#recording),
      noGradScope,
      reads: mergeGates([this[SELF].#gates, ...handles.map((handle) => handle.valueGates())]),
      graph: mergeGates([this[SELF].#gates, ...handles.map((handle) => handle.gates)]),
      signal,
    }
  }

  /**
   * Runs a method of the native model. The result has the type that the flags of the call ask for.
   */
  protected call(
    method: string,
    positional: readonly unknown[],
    options?: CallControl,
  ): Promise<never> {
    return noteKnown(this[SELF].#call(method, positional, options))
  }

  async #call(
    method: string,
    positional: readonly unknown[],
    options?: CallControl,
  ): Promise<never> {
    const call = this.prepare(method, positional, options)
    const { encoded, context, graph, noGradScope } = call
    const result = await this.heavy(
      call,
      (abort) =>
        this[SELF].#native.call(method, encoded.json, pinned(encoded.tensors), context, abort),
      ({ tensors }) => {
        for (const tensor of tensors) tensor.dispose()
      },
    )
    return decode(result, graph, noGradScope) as never
  }

  /** As {@link call}, at once. */
  protected callSync(method: string, positional: readonly unknown[], options?: object): never {
    requireLive(this)
    const own = checkArguments(options ?? {}, `${method}Sync`)
    const encoded = this[SELF].#encode(method, positional, own)
    try {
      return this[SELF].#callNow(method, encoded)
    } finally {
      encoded.free()
    }
  }

  #callNow(method: string, { json, tensors }: Encoded): never {
    const graph = mergeGates([this[SELF].#gates, ...tensors.map((handle) => handle.gates)])
    const reads = mergeGates([this[SELF].#gates, ...tensors.map((handle) => handle.valueGates())])
    const noGradScope = noGradScopeOf(tensors, method === 'forward' ? this[SELF].#gates : NO_GATES)
    const context = nextContext(noGradScope === null, this[SELF].#recording)
    const natives = tensors.map((handle) => handle.use())
    return scheduleSync(`${method}Sync()`, reads, NO_GATES, () =>
      decode(
        guarded(() => this[SELF].#native.callSync(method, json, natives, context)),
        graph,
        noGradScope,
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
      return heavySteps({
        reads,
        writes: NO_GATES,
        inputs: encoded.tensors,
        signal,
        start,
        discard,
      })
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
      return heavy({
        reads,
        writes: NO_GATES,
        inputs: encoded.tensors,
        signal,
        start,
        ...(discard && { discard }),
      })
    } finally {
      // what was made for the call is pinned now
      encoded.free()
    }
  }
}

/** What layers have given, as the native side tells it. */
function squaresIn({ json, tensors }: NativeResult): Recorded {
  const names = JSON.parse(json) as [name: string, elements: number][]
  return tidy(() => {
    const [means] = tensors.map((tensor) => wrap(tensor).dataSync())
    return new Map(
      names.map(([name, elements], i) => [name, { sum: Number(means?.[i]) * elements, elements }]),
    )
  })
}

const isNative = (holder: object) => holder instanceof NativeModel

const pinned = (handles: readonly TensorHandle[]) => handles.map((handle) => handle.pinned())

/** The device of a model's weights, to which its arguments go. */
export function deviceOf(model: NativeModel): Device {
  return model[ENTRIES]()[0]?.source.tensor().device ?? 'cpu'
}
