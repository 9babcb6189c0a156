import { native } from '#native'
import { checkOptions, describeValue } from '../checks.js'
import { guarded } from '../errors.js'
import type { Entry, StateDict } from '../module/entries.js'
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
import { recordedIn, together, underName } from '../module/recording.js'
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
  type Recorded,
} from '../module/submodule.js'
import { renderTree } from '../module/tree.js'
import { jsonOf } from '../native/json.js'
import type { ModuleDescription, NativeModule } from '../native/native.js'
import { Promises } from '../promises.js'
import { GATES, HANDLE, NATIVE_MODULE, SELF } from '../symbols.js'
import { heavy } from '../tensor/calls.js'
import { ownBytes } from '../tensor/data.js'
import { getDefaultDevice } from '../tensor/default-device.js'
import { checkDevice, type Device } from '../tensor/device.js'
import { nextContext } from '../tensor/random.js'
import {
  Gate,
  type Gates,
  mergeGates,
  NO_GATES,
  runOrQueue,
  scheduleSync,
} from '../tensor/schedule.js'
import { VERSION } from '../version.js'
import { Description } from './description.js'
import { encode } from './encode.js'

/** Whether calls record the sizes of the outputs of layers. */
export const RECORDING: unique symbol = Symbol('x-transformers.recording')

/**
 * A native model that was loaded: a constructor that gets this in place of options takes it over.
 */
export class LoadedNative {
  constructor(
    readonly native: NativeModule,
    /** The models within, by the name of the option. */
    readonly inner: ReadonlyMap<string, NativeWeights>,
  ) {}
}

/** A model whose weights are on the native side: all of it but the calls. */
export abstract class NativeWeights<Options = unknown> extends Module<Options> {
  readonly #class: string
  readonly #native: NativeModule
  readonly #gates: Gates
  /**
   * The models given to the constructor, by the option's name, which is also the prefix of their
   * parameters.
   */
  readonly #inner: ReadonlyMap<string, NativeWeights>
  readonly #description: Description
  /** Whether calls record the sizes of the outputs of layers. */
  #recording = false
  /** How it ended, in words; null while it lives. */
  #ended: string | null = null
  #released = false

  /** @internal */
  protected constructor(className: string, options: object | LoadedNative) {
    super()
    this.#class = className
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
        entries.filter(
          (entry): entry is [string, NativeWeights] => entry[1] instanceof NativeWeights,
        ),
      )
    }
    for (const inner of this.#inner.values()) addChild(this, inner)
    const inner = [...this.#inner].map(([name, model]) => [name, model[SELF]] as const)
    // shared weights keep the gate that they have
    this.#gates = mergeGates([new Set([new Gate(this)]), ...inner.map(([, model]) => model.#gates)])
    this.#description = new Description(
      this.#native,
      this.#gates,
      new Map(inner.map(([name, model]) => [name, model.#description])),
    )
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
    const gone: NativeWeights[] = []
    this[SELF].#collect(gone, within)
    runOrQueue(this[SELF].#gates, () => {
      for (const model of gone) model.#release()
    })
  }

  /** This model, and those within it that no live one has. */
  #collect(gone: NativeWeights[], within: boolean): void {
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
    this[SELF].#description.free()
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
  protected within<M extends NativeWeights | undefined>(name: string): M {
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
    return this[SELF].#description.lines()
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
  get [RECORDING](): boolean {
    return this[SELF].#recording
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
    return together(await Promises.all([own.then(recordedIn), ...inner]))
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
      this[SELF].#description.forgetGone()
    }
  }

  /** @internal What the native side tells of the model. Draws no values. */
  protected described(): ModuleDescription {
    return this[SELF].#description.told()
  }
}

const isNative = (holder: object) => holder instanceof NativeWeights
