import { native } from '#native'
import { type CallControl, heavy, heavySteps } from './calls.js'
import { checkOptions, checkSignal, refuse } from './checks.js'
import { ownBytes } from './data.js'
import { checkArguments, decode, type Encoded, encode, encodeCall, NATIVE_MODULE } from './encode.js'
import { guarded } from './errors.js'
import { TensorHandle } from './handle.js'
import {
  ASSIGN,
  ENTRIES,
  type Entry,
  type EntrySource,
  GATES,
  Module,
  type Quantization,
  type StateDict,
} from './module.js'
import type { ContextJson, ModuleDescription, NativeAbortFlag, NativeModule } from './native.js'
import { nextContext } from './random.js'
import { Gate, type Gates, mergeGates, NO_GATES, scheduleSoon, scheduleSync } from './schedule.js'
import { HANDLE } from './symbols.js'
import { checkDevice, type Device, Tensor } from './tensor.js'
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
  /** Whether the models within were loaded together with this one, and end with it. */
  readonly #adopted: boolean
  readonly #own = new Map<string, OwnEntry>()
  #description: ModuleDescription | null = null
  #entries: Entry[] | null = null

  /** @internal */
  protected constructor(className: string, options: object | Adopted) {
    super()
    this.#class = className
    this.#adopted = options instanceof Adopted
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
    // shared weights keep the gate that they have
    this.#gates = mergeGates([new Set([new Gate()]), ...[...this.#inner.values()].map((inner) => inner.#gates)])
  }

  /** @internal The class by the name that checkpoints know. */
  get className(): string {
    return this.#class
  }

  /** The options as given to the constructor; a nested model as `{ class, options }`. */
  override get options(): Options {
    return JSON.parse(JSON.stringify(this.described().options)) as Options
  }

  override train(on = true): this {
    super.train(on)
    for (const inner of this.#inner.values()) inner.train(on)
    // calls made before keep the mode that they were made in
    scheduleSoon(this.#gates, () => guarded(() => this.#native.train(on)))
    return this
  }

  override to(device: Device): this {
    const target = checkDevice(device)
    scheduleSync('to()', NO_GATES, this.#gates, () => guarded(() => this.#native.to(target)))
    return this
  }

  override quantize(format: Quantization): this {
    scheduleSync('quantize()', NO_GATES, this.#gates, () => guarded(() => this.#native.quantize(checkFormat(format))))
    return this
  }

  override get quantization(): Quantization | null {
    return guarded(() => this.#native.quantization()) as Quantization | null
  }

  override async saveBytes(): Promise<Uint8Array> {
    return ownBytes(await heavy({ reads: this.#gates, writes: NO_GATES, start: () => this.#native.saveBytes() }))
  }

  override saveBytesSync(): Uint8Array {
    const run = () => guarded(() => this.#native.saveBytesSync())
    return ownBytes(scheduleSync('saveBytesSync()', this.#gates, NO_GATES, run))
  }

  /**
   * Frees the model, once the calls made before have ended. Weights that another model shares stay; but the models within one that was loaded are
   * freed with it.
   */
  override dispose(): void {
    if (this.#adopted) for (const inner of this.#inner.values()) inner.dispose()
    scheduleSoon(this.#gates, () => {
      for (const entry of this.#own.values()) entry.dispose()
      this.#native.dispose()
    })
  }

  override toString(): string {
    return renderTree(this.#class, this[ENTRIES](), this.options as Record<string, unknown>)
  }

  /** The model that was given as option `name`. */
  protected within<M extends NativeModel | undefined>(name: string): M {
    return this.#inner.get(name) as M
  }

  /** @internal */
  [NATIVE_MODULE](): NativeModule {
    return this.#native
  }

  /** @internal */
  override [GATES](): Gates {
    return this.#gates
  }

  /** @internal */
  override [ENTRIES](): Entry[] {
    this.#entries ??= this.described().entries.map(({ name, shape, kind, tied }) => {
      const source = this.#source(tied ?? name)
      return { name, shape, kind, tied, source }
    })
    return this.#entries
  }

  /** @internal */
  override [ASSIGN](state: StateDict): void {
    const tensors = [...state.values()].map((tensor) => tensor[HANDLE].settled('loadStateDict()'))
    guarded(() => this.#native.loadState(JSON.stringify([...state.keys()]), tensors, false))
  }

  /** @internal What the native side tells of the model. Draws no values. */
  protected described(): ModuleDescription {
    this.#description ??= JSON.parse(guarded(() => this.#native.describe())) as ModuleDescription
    return this.#description
  }

  /** Where an entry comes from: the model inside that has it, so that both give the same objects. */
  #source(name: string): EntrySource {
    const dot = name.indexOf('.')
    const inner = this.#inner.get(name.slice(0, dot))
    const rest = name.slice(dot + 1)
    const shared = inner?.[ENTRIES]().find((entry) => entry.name === rest)
    if (shared) return shared.source
    let entry = this.#own.get(name)
    if (!entry) {
      entry = new OwnEntry(() => guarded(() => this.#native.entry(name)), this.#gates)
      this.#own.set(name, entry)
    }
    return entry
  }

  /** Fixes a call: its arguments, its random numbers, its place in the order. */
  protected prepare(
    method: string,
    positional: readonly unknown[],
    options: CallControl | null | undefined,
  ): PreparedCall {
    const { signal, ...rest } = checkArguments(options, method)
    const encoded = encodeCall(positional, rest)
    const handles = encoded.tensors
    return {
      encoded,
      context: nextContext(),
      reads: mergeGates([this.#gates, ...handles.map((handle) => handle.valueGates())]),
      graph: mergeGates([this.#gates, ...handles.map((handle) => handle.gates)]),
      signal: checkSignal(signal),
    }
  }

  /** Runs a method of the native model. The result has the type that the flags of the call ask for. */
  protected async call(method: string, positional: readonly unknown[], options?: CallControl): Promise<never> {
    const call = this.prepare(method, positional, options)
    const { encoded, context, graph } = call
    const result = await this.heavy(
      call,
      (abort) => this.#native.call(method, encoded.json, pinned(encoded.tensors), context, abort),
      ({ tensors }) => {
        for (const tensor of tensors) tensor.dispose()
      },
    )
    return decode(result, graph) as never
  }

  /** As {@link call}, at once. */
  protected callSync(method: string, positional: readonly unknown[], options?: object): never {
    const { json, tensors } = encodeCall(positional, checkArguments(options ?? {}, `${method}Sync`))
    const graph = mergeGates([this.#gates, ...tensors.map((handle) => handle.gates)])
    const reads = mergeGates([this.#gates, ...tensors.map((handle) => handle.valueGates())])
    const context = nextContext()
    const natives = tensors.map((handle) => handle.use())
    return scheduleSync(`${method}Sync()`, reads, NO_GATES, () =>
      decode(
        guarded(() => this.#native.callSync(method, json, natives, context)),
        graph,
      ),
    ) as never
  }

  /** As {@link heavy}, for what runs functions of the caller's too: see {@link heavySteps}. */
  protected heavySteps<T>(
    { encoded, reads, signal }: PreparedCall,
    start: (abort: NativeAbortFlag) => Promise<T>,
    discard: (value: T) => void,
  ): Promise<T> {
    return heavySteps({ reads, writes: NO_GATES, inputs: encoded.tensors, signal, start, discard })
  }

  /** Runs a heavy part of a prepared call. */
  protected heavy<T>(
    { encoded, reads, signal }: PreparedCall,
    start: (abort: NativeAbortFlag) => Promise<T>,
    discard?: (value: T) => void,
  ): Promise<T> {
    return heavy({ reads, writes: NO_GATES, inputs: encoded.tensors, signal, start, ...(discard && { discard }) })
  }
}

/** The native side knows the formats. */
function checkFormat(format: unknown): string {
  if (typeof format === 'string') return format
  throw refuse('the format', "'q8_0', 'q4_0' or 'bf16'", format, 'invalid_options')
}

const pinned = (handles: readonly TensorHandle[]) => handles.map((handle) => handle.pinned())

/** A parameter or buffer that this model does not have from another one. */
class OwnEntry implements EntrySource {
  #tensor: Tensor | null = null

  constructor(
    private readonly read: () => ReturnType<NativeModule['entry']>,
    private readonly gates: Gates,
  ) {}

  tensor(): Tensor {
    if (!this.#tensor || this.#tensor[HANDLE].disposed) {
      this.#tensor = new Tensor(new TensorHandle(this.read(), this.gates, true, true))
    }
    return this.#tensor
  }

  dispose(): void {
    this.#tensor?.dispose()
  }
}
