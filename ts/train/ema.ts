import { native } from '#native'
import { BRAND, type Brand, brand } from '../brand.js'
import { checkOptions, refuse } from '../checks.js'
import { checkSignal, type ReadOptions } from '../control.js'
import { guarded, XTransformersError } from '../errors.js'
import { type Source, saveWeights, type Target, toBlob } from '../io/sources.js'
import { disposeAll, readTensors, type TensorFile, writeTensorBytes } from '../io/tensor-files.js'
import { Module } from '../module/module.js'
import { METADATA } from '../module/submodule.js'
import type { NativeTensor } from '../native/native.js'
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
import { Tensor } from '../tensor/tensor.js'
import { checkEMA, type EMAOptions } from './ema-options.js'
import { Averages, averagesMetadata, checkEMAState, type EMAState, updatesIn } from './ema-state.js'

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
  readonly #byName: Averages
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
    this.#byName = new Averages(model, this.#parameters, this.#averages)
  }

  /** The number of updates so far. */
  get updates(): number {
    return this.#updates
  }

  /** Whether the model has the averages now: between {@link apply} and {@link restore}. */
  get applied(): boolean {
    return this.#applied
  }

  /** What the next update computes with, in its turn: a load() before it changes the decay. */
  #next(): [averages: NativeTensor[], weights: NativeTensor[], decay: number] {
    const n = this.#updates + 1
    const decay = this.warmup ? Math.min(this.decay, n / (n + 9)) : this.decay
    return [handles(this.#averages), handles(this.#parameters), decay]
  }

  /**
   * Moves the averages towards the weights, as they are once the calls made before have ended.
   *
   * @throws XTransformersError (`invalid_state`) while the averages are applied; (`disposed`,
   *   `out_of_memory`)
   */
  async update(): Promise<void> {
    this.#requireNotApplied('update()')
    await heavy({
      reads: this.#weights,
      writes: this.#own,
      start: async () => {
        await native.average(...this.#next())
        this.#updates++
      },
    })
  }

  /** As {@link update}, at once. */
  updateSync(): void {
    this.#requireNotApplied('updateSync()')
    scheduleSync('updateSync()', this.#weights, this.#own, () => {
      guarded(() => native.averageSync(...this.#next()))
      this.#updates++
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
    try {
      await schedule(NO_GATES, this.#all, () => this.#exchange())
    } catch (error) {
      this.#applied = !applied
      throw error
    }
  }

  #exchange(): void {
    guarded(() => native.swapValues(handles(this.#parameters), handles(this.#averages)))
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
      weights: this.#byName.copies(),
    }))
  }

  /**
   * Puts back what {@link stateDict} has given. The settings stay.
   *
   * @throws XTransformersError (`invalid_checkpoint`) where names or shapes do not fit
   */
  loadStateDict(state: EMAState): void {
    const { updates, weights } = checkEMAState(state)
    this.#requireNotApplied('loadStateDict()')
    const fitting = this.#byName.fit(weights)
    scheduleSync('loadStateDict()', NO_GATES, this.#own, () => {
      this.#byName.put(fitting)
      this.#updates = updates
    })
  }

  /**
   * The bytes of a safetensors file with the averages as the weights of the model: `load` rebuilds
   * the model with them, `loadWeights` reads them into one.
   */
  async saveBytes(): Promise<Uint8Array> {
    this.#requireNotApplied('saveBytes()')
    const ofModel = this.#model[METADATA]()
    const metadata = () => ({ ...ofModel, ...averagesMetadata(this) })
    return await writeTensorBytes(this.#byName.named(), metadata)
  }

  /**
   * Writes the averages, as {@link saveBytes}; a name that PyTorch's files have (`.pt`, `.pth`) is
   * refused (`invalid_argument`).
   *
   * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see
   *   {@link Target}
   * @throws XTransformersError (`file`)
   * @example
   * await ema.save('ema.safetensors')
   * const model = await load('ema.safetensors')
   */
  async save(target: Target): Promise<void> {
    await saveWeights(target, () => this.saveBytes())
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
      const updates = updatesIn(metadata)
      this.#byName.put(this.#byName.fit(tensors))
      this.#updates = updates
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

  /**
   * Frees the averages, once the calls made before have ended. The model stays, and gets its
   * weights back where it has the averages.
   *
   * @throws XTransformersError (`quantized`) where the model has the averages and was quantized
   *   since: nothing is freed then. Weights that are loaded into the model make it f32 again, and
   *   dispose() gives it its own back
   */
  dispose(): void {
    runOrQueue(this.#all, () => {
      try {
        if (this.#applied) this.#exchange()
      } catch (error) {
        // a model that was disposed has no use for its weights
        if (!(error instanceof XTransformersError) || error.code !== 'disposed') throw error
      }
      this.#applied = false
      for (const average of this.#averages) average[HANDLE].release()
    })
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

const handles = (tensors: readonly Tensor[]) => tensors.map((tensor) => tensor[HANDLE].use())
