import { native } from '#native'
import { BRAND, type Brand, brand } from '../brand.js'
import { checkOptions, isRecord, refuse } from '../checks.js'
import { checkSignal, type ReadOptions } from '../control.js'
import { guarded, XTransformersError } from '../errors.js'
import { type Source, saveTo, type Target, toBlob } from '../io/sources.js'
import { disposeAll, readTensors, type TensorFile, writeTensorBytes } from '../io/tensor-files.js'
import type { Entry, EntrySource, StateDict } from '../module/entries.js'
import { Module } from '../module/module.js'
import { assignParameter } from '../module/parameters.js'
import { checkState, fitState } from '../module/state.js'
import { ENTRIES, METADATA } from '../module/submodule.js'
import { jsonOf } from '../native/json.js'
import { HANDLE, INSPECT } from '../symbols.js'
import { heavy } from '../tensor/calls.js'
import { TensorHandle } from '../tensor/handle.js'
import {
  Gate,
  type Gates,
  mergeGates,
  NO_GATES,
  runOrQueue,
  schedule,
  scheduleSync,
} from '../tensor/schedule.js'
import { Tensor, wrap } from '../tensor/tensor.js'
import { checkEMA, type EMAOptions } from './ema-options.js'

/** What an {@link EMA} knows, as {@link EMA.stateDict} gives it. */
export interface EMAState {
  /** The number of updates so far. */
  updates: number
  /** The averages by the names of the parameters; with them the model's buffers. */
  weights: Map<string, Tensor>
}

/** The key of its metadata in a file. */
const KEY = 'ema'

/**
 * Exponential moving averages of the weights of a model: each update computes
 * `average = decay * average + (1 - decay) * weight`. They make less noise than the weights, and
 * often generalize better.
 *
 * Averages begin as the weights that the model has then, and share their memory until the first
 * update. They follow the model to other devices.
 *
 * @example
 * const ema = new EMA(model, { decay: 0.999 })
 * await optimizer.step()
 * await ema.update()
 * // an evaluation with the averages
 * await ema.apply()
 * const loss = await noGrad(() => model.forward(x))
 * await ema.restore()
 */
export class EMA {
  readonly decay: number
  readonly warmup: boolean
  readonly #model: Module
  readonly #parameters: readonly Tensor[]
  readonly #averages: readonly Tensor[]
  /** Those of the averages, which are the same for all, of the parameters, and of both. */
  readonly #own: Gates
  readonly #weights: Gates
  readonly #all: Gates
  #updates = 0
  #applied = false

  /** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
  constructor(model: Module, options: EMAOptions = {}) {
    const { decay, warmup } = checkEMA(options)
    if (!(model instanceof Module)) throw refuse('the model of an EMA', 'a Module', model)
    this.decay = decay
    this.warmup = warmup
    this.#model = model
    this.#parameters = model.parameters()
    this.#own = new Set([new Gate(this)])
    this.#weights = mergeGates(this.#parameters.map((parameter) => parameter[HANDLE].gates))
    this.#all = mergeGates([this.#own, this.#weights])
    this.#averages = scheduleSync('new EMA()', this.#weights, NO_GATES, () =>
      this.#parameters.map((parameter) => {
        const leaf = guarded(() => parameter[HANDLE].use().asLeaf())
        guarded(() => leaf.setRequiresGrad(false))
        return new Tensor(new TensorHandle(leaf, this.#own, true))
      }),
    )
  }

  /** The number of updates so far. */
  get updates(): number {
    return this.#updates
  }

  /** Whether the model has the averages now: between {@link apply} and {@link restore}. */
  get applied(): boolean {
    return this.#applied
  }

  /** The decay of the next update: with `warmup` lower at first. */
  #nextDecay(): number {
    const n = ++this.#updates
    return this.warmup ? Math.min(this.decay, n / (n + 9)) : this.decay
  }

  /**
   * Moves the averages towards the weights, as they are once the calls made before have ended.
   *
   * @throws XTransformersError (`invalid_state`) while the averages are applied; (`disposed`,
   *   `out_of_memory`)
   */
  async update(): Promise<void> {
    this.#requireNotApplied('update()')
    const decay = this.#nextDecay()
    await heavy({
      reads: this.#weights,
      writes: this.#own,
      start: () => native.average(handles(this.#averages), handles(this.#parameters), decay),
    })
  }

  /** As {@link update}, at once. */
  updateSync(): void {
    this.#requireNotApplied('updateSync()')
    scheduleSync('updateSync()', this.#weights, this.#own, () => {
      const decay = this.#nextDecay()
      guarded(() => native.averageSync(handles(this.#averages), handles(this.#parameters), decay))
    })
  }

  /**
   * Puts the averages in the place of the weights, which are kept for {@link restore}: nothing is
   * copied. Calls on the model that follow see them.
   *
   * @throws XTransformersError (`invalid_state`) where they are there already; (`quantized`)
   */
  async apply(): Promise<void> {
    this.#requireNotApplied('apply()')
    await this.#swap(true)
  }

  /**
   * Puts the weights back.
   *
   * @throws XTransformersError (`invalid_state`) without {@link apply} before
   */
  async restore(): Promise<void> {
    if (!this.#applied)
      throw new XTransformersError('invalid_state', 'restore() needs apply() before')
    await this.#swap(false)
  }

  async #swap(applied: boolean): Promise<void> {
    this.#applied = applied
    const exchange = () =>
      guarded(() => native.swapValues(handles(this.#parameters), handles(this.#averages)))
    try {
      await schedule(NO_GATES, this.#all, exchange)
    } catch (error) {
      this.#applied = !applied
      throw error
    }
  }

  /**
   * Copies the averages into the model for good, or into another one of the same structure.
   *
   * @throws XTransformersError (`invalid_checkpoint`) where that has other parameters; (`busy`)
   *   while a call on them is pending
   */
  copyTo(model: Module = this.#model): void {
    if (!(model instanceof Module)) throw refuse('the model of copyTo()', 'a Module', model)
    const { weights } = this.stateDict()
    try {
      model.loadStateDict(weights)
    } finally {
      disposeAll(weights)
    }
  }

  /** The number of updates, and copies of the averages as they are now. */
  stateDict(): EMAState {
    this.#requireNotApplied('stateDict()')
    return scheduleSync('stateDict()', this.#all, NO_GATES, () => ({
      updates: this.#updates,
      weights: new Map([...this.#named()].map(([name, tensor]) => [name, copyOf(tensor)])),
    }))
  }

  /**
   * Puts back what {@link stateDict} has given. The settings stay.
   *
   * @throws XTransformersError (`invalid_checkpoint`) where names or shapes do not fit
   */
  loadStateDict(state: EMAState): void {
    if (!isRecord(state)) throw refuse('the state of an EMA', 'what stateDict() gives', state)
    this.#requireNotApplied('loadStateDict()')
    const { updates, weights } = state as EMAState
    if (!Number.isSafeInteger(updates) || updates < 0)
      throw refuse('updates', 'a whole number from 0', updates)
    const lines = this.#model[ENTRIES]()
    const { known } = fitState(checkState(weights), lines, {})
    scheduleSync('loadStateDict()', NO_GATES, this.#own, () => this.#put(known, lines, updates))
  }

  #put(known: StateDict, lines: readonly Entry[], updates: number): void {
    const averages = this.#bySource()
    for (const { name, tied, source } of lines) {
      const [average, value] = [averages.get(source), known.get(name)]
      if (average && value && tied === null) assignParameter(average, value)
    }
    this.#updates = updates
  }

  /** The average of each parameter, by what tells two names of one parameter. */
  #bySource(): Map<EntrySource, Tensor> {
    const places = new Map(this.#parameters.map((parameter, i) => [parameter[HANDLE], i]))
    return new Map(
      this.#model[ENTRIES]().flatMap(({ kind, source }) => {
        if (kind !== 'parameter') return []
        const place = places.get(source.tensor()[HANDLE])
        return place === undefined ? [] : [[source, this.#averages[place] as Tensor] as const]
      }),
    )
  }

  /** What a state dict of the model has, with the averages in place of the parameters. */
  #named(): Map<string, Tensor> {
    const averages = this.#bySource()
    return new Map(
      this.#model[ENTRIES]().map(({ name, source }) => [
        name,
        averages.get(source) ?? source.tensor(),
      ]),
    )
  }

  /**
   * The bytes of a safetensors file with the averages as the weights of the model: `load` rebuilds
   * the model with them, `loadWeights` reads them into one.
   */
  async saveBytes(): Promise<Uint8Array> {
    this.#requireNotApplied('saveBytes()')
    const { decay, warmup } = this
    const own = { [KEY]: jsonOf({ updates: this.#updates, decay, warmup }) }
    return await writeTensorBytes(this.#named(), { ...this.#model[METADATA](), ...own })
  }

  /**
   * Writes the averages, as {@link saveBytes}.
   *
   * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see
   *   {@link Target}
   * @throws XTransformersError (`file`)
   * @example
   * await ema.save('ema.safetensors')
   * const model = await load('ema.safetensors')
   */
  async save(target: Target): Promise<void> {
    await saveTo(target, () => this.saveBytes())
  }

  /** The averages as a file in a Blob, such as for a download. */
  async saveBlob(): Promise<Blob> {
    return toBlob(await this.saveBytes())
  }

  /**
   * Puts back what `save`, `saveBlob` or `saveBytes` has made, to go on from it. The settings stay.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`)
   */
  async load(source: Source, given: ReadOptions = {}): Promise<void> {
    this.#requireNotApplied('load()')
    const options = checkOptions(given, 'load()', ['signal', 'on_progress'])
    const run = async () => this.#restoreFrom(await readTensors(source, options))
    await schedule(NO_GATES, this.#own, run, checkSignal(options.signal))
  }

  #restoreFrom({ metadata, tensors }: TensorFile): void {
    try {
      const updates = updatesIn(metadata[KEY])
      const lines = this.#model[ENTRIES]()
      this.#put(fitState(tensors, lines, {}).known, lines, updates)
    } finally {
      disposeAll(tensors)
    }
  }

  #requireNotApplied(what: string): void {
    if (!this.#applied) return
    throw new XTransformersError(
      'invalid_state',
      `${what} while the model has the averages: call restore() first`,
    )
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand('an EMA')
  }

  /** The settings, and the number of updates. */
  toString(): string {
    return `EMA(decay ${this.decay}, ${this.#updates} updates of ${this.#averages.length} parameters)`
  }

  /** @internal */
  [INSPECT](): string {
    return this.toString()
  }

  /** Frees the averages, once the calls made before have ended. The model stays. */
  dispose(): void {
    runOrQueue(this.#all, () => {
      for (const average of this.#averages) average[HANDLE].release()
    })
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

const handles = (tensors: readonly Tensor[]) => tensors.map((tensor) => tensor[HANDLE].use())

const copyOf = (tensor: Tensor) => wrap(guarded(() => tensor[HANDLE].use().detach()))

/** The number of updates that the metadata of a file tells. */
function updatesIn(json: string | undefined): number {
  try {
    const { updates } = JSON.parse(json ?? '')
    if (Number.isSafeInteger(updates) && updates >= 0) return updates
  } catch {
    // as for a number that is none
  }
  throw new XTransformersError('invalid_checkpoint', 'this is no file that an EMA has saved')
}
