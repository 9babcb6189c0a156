import { BRAND, type Brand, brand } from '../brand.js'
import { checkFlag, checkOptions, refuse } from '../checks.js'
import { checkReading, type ReadOptions } from '../control.js'
import { XTransformersError } from '../errors.js'
import { type Source, saveWeights, type Target, toBlob } from '../io/sources.js'
import { writeTensorBytes } from '../io/tensor-files.js'
import { readInTurn } from '../module/loading.js'
import { Module } from '../module/module.js'
import { ASSIGN, CHANGE_LORA, LORA_LAYERS, type LoRALayers } from '../module/submodule.js'
import { jsonOf } from '../native/json.js'
import type { ContextJson } from '../native/native.js'
import { GATES, INSPECT } from '../symbols.js'
import { nextContext } from '../tensor/random.js'
import { NO_GATES, scheduleSync } from '../tensor/schedule.js'
import type { Tensor } from '../tensor/tensor.js'
import { fitMatrices, layersIn, scaleOfFile, withPrefix } from './lora-file.js'
import { freezeBase, thawBase } from './lora-freezing.js'
import { chosenLayers, firstNames, namesOfMatrices, shapesOfMatrices } from './lora-layers.js'
import { checkLoRA, type LoRAOfOptions, type LoRAOptions } from './lora-options.js'

/** Options of {@link LoRA.load}. */
export interface LoRALoadOptions extends ReadOptions, Pick<LoRAOptions, 'lora_alpha'> {
  /** As in {@link LoRAOptions}. */
  use_rslora?: boolean | undefined
}

/**
 * Low-rank updates of the linear layers of a model, to fine-tune it with few parameters: next to
 * its weight `W`, `[out, in]`, each layer gets two matrices `A`, `[r, in]`, and `B`, `[out, r]`,
 * and computes with `W + scale * B A`. The source is LoRA, https://arxiv.org/abs/2106.09685.
 *
 * The matrices are parameters of the model from then on: `layer.lora_A.weight` and
 * `layer.lora_B.weight`. All other parameters are frozen (`unfreeze` thaws what is to be trained
 * too). `B` is 0 at first, so that the model computes what it did before. Optimizers have to be
 * made afterwards.
 *
 * A checkpoint of the whole model (`model.save`) has the matrices in it, and `load` rebuilds it
 * with them; {@link LoRA.save} writes the matrices alone, {@link LoRA.merge} makes them part of the
 * weights.
 *
 * @example
 * const model = await load('base.safetensors')
 * const lora = new LoRA(model, { target_modules: ['*.to_q', '*.to_v'], r: 8, lora_alpha: 16 })
 * const optimizer = new AdamW(lora.parameters(), { lr: 1e-3 })
 * // training ...
 * await lora.save('adapter.safetensors')
 * lora.merge()
 */
export class LoRA {
  /** The names of the layers. */
  readonly modules: readonly string[]
  /** The rank of the updates. */
  readonly r: number
  /** The factor of the updates. */
  readonly scale: number
  readonly #model: Module
  /** How it ended, in words; null while it lives. */
  #ended: string | null = null

  /**
   * @throws XTransformersError (`invalid_options`, `invalid_argument`) where a pattern fits no
   *   linear layer; (`invalid_state`) where a layer has an update already; (`out_of_memory`);
   *   (`busy`) while a call on the model is pending. Nothing is added then
   */
  constructor(model: Module, options?: LoRAOptions)
  /** @internal Takes over updates that are there. */
  constructor(model: Module, options: LoRAOptions | undefined, existing: LoRALayers)
  constructor(model: Module, options: LoRAOptions = {}, existing?: LoRALayers) {
    if (!(model instanceof Module)) throw refuse('the model of a LoRA', 'a Module', model)
    this.#model = model
    const layers = existing ?? chosenLayers(model, checkLoRA(options))
    this.modules = layers.modules
    this.r = layers.r
    this.scale = layers.scale
    if (existing === undefined)
      scheduleSync('new LoRA()', NO_GATES, model[GATES](), () => add(model, layers))
  }

  /**
   * The updates that a model has, such as those of a checkpoint of the whole model: one LoRA for
   * all layers that have the same rank and factor. In a model that was loaded nothing is frozen.
   *
   * @throws XTransformersError with `freeze`: (`busy`) while a call on the model is pending
   * @example
   * const model = await load('half-trained.safetensors')
   * const [lora] = LoRA.of(model, { freeze: true })
   */
  static of(model: Module, options: LoRAOfOptions = {}): LoRA[] {
    if (!(model instanceof Module)) throw refuse('the model of LoRA.of()', 'a Module', model)
    const { freeze } = checkOptions(options, 'LoRA.of()', ['freeze'])
    const all = model[LORA_LAYERS]().map((layers) => make(model, {}, layers))
    if (checkFlag(freeze, 'freeze', false) && all.length > 0)
      scheduleSync('LoRA.of()', NO_GATES, model[GATES](), () => freezeBase(model))
    return all
  }

  /**
   * Adds the updates of a file to a model: one that {@link LoRA.save} has made, or the
   * `adapter_model.safetensors` of Python's `peft`, whose names of layers must be those of the
   * model, and whose `lora_alpha` (of `adapter_config.json`) has to be given. Calls that follow
   * wait for it.
   *
   * @throws XTransformersError (`file`, `invalid_options`); (`invalid_checkpoint`) where the layers
   *   or their sizes do not fit the model; and what the constructor throws. Nothing is added then
   * @example
   * const lora = await LoRA.load(model, 'adapter.safetensors')
   */
  static async load(model: Module, source: Source, given: LoRALoadOptions = {}): Promise<LoRA> {
    if (!(model instanceof Module)) throw refuse('the model of LoRA.load()', 'a Module', model)
    const own = ['lora_alpha', 'use_rslora', 'signal', 'on_progress']
    const { lora_alpha, use_rslora, ...reading } = checkOptions(given, 'LoRA.load()', own)
    // fixed now, though they are not looked at: what other calls draw must not depend on the file
    const context = nextContext()
    return await readInTurn(model, source, checkReading(reading), ({ tensors, metadata }) => {
      const layers = layersIn(tensors, metadata, { lora_alpha, use_rslora })
      const matrices = fitMatrices(tensors, shapesOfMatrices(model, layers))
      add(model, layers, context)
      model[ASSIGN](matrices)
      return make(model, {}, { ...layers, modules: firstNames(model, layers.modules) })
    })
  }

  /** The matrices: `A` and `B` of each layer, in the order of the model's parameters. */
  parameters(): Tensor[] {
    return [...this.namedParameters().values()]
  }

  /** The matrices by their names in the model. */
  namedParameters(): Map<string, Tensor> {
    this.#requireLive()
    const own = namesOfMatrices(this.modules)
    return new Map([...this.#model.namedParameters()].filter(([name]) => own.has(name)))
  }

  /**
   * Reads values into the matrices, of a file that {@link LoRA.save} has made of these layers.
   * Calls on the model that follow wait for it.
   *
   * @throws XTransformersError (`file`); (`invalid_checkpoint`) where the file has other layers,
   *   another rank or another factor. Nothing is changed then
   */
  async load(source: Source, given: ReadOptions = {}): Promise<void> {
    this.#requireLive()
    const options = checkOptions(given, 'load()', ['signal', 'on_progress'])
    const model = this.#model
    await readInTurn(model, source, checkReading(options), ({ tensors, metadata }) => {
      this.#requireLive()
      this.#requireScale(scaleOfFile(metadata))
      model[ASSIGN](fitMatrices(tensors, shapesOfMatrices(model, this)))
    })
  }

  #requireScale(scale: number | null): void {
    if (scale === null || scale === this.scale) return
    throw new XTransformersError(
      'invalid_checkpoint',
      `the file has updates with the factor ${scale}, and the factor of this LoRA is ${this.scale}: LoRA.load(model, source) makes one with that of the file`,
    )
  }

  /**
   * The bytes of a safetensors file with the matrices alone, under the names that `peft` has in
   * Python: `base_model.model.layer.lora_A.weight`. Rank and factor are in its metadata.
   */
  async saveBytes(): Promise<Uint8Array> {
    const { r, scale } = this
    return await writeTensorBytes(withPrefix(this.namedParameters()), {
      format: 'pt',
      lora: jsonOf({ r, scale }),
    })
  }

  /**
   * Writes the matrices, as {@link saveBytes}; a name that PyTorch's files have (`.pt`, `.pth`) is
   * refused (`invalid_argument`).
   *
   * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see
   *   {@link Target}
   * @throws XTransformersError (`file`)
   */
  async save(target: Target): Promise<void> {
    this.#requireLive()
    await saveWeights(target, () => this.saveBytes())
  }

  /** The matrices as a file in a Blob, such as for a download. */
  async saveBlob(): Promise<Blob> {
    return toBlob(await this.saveBytes())
  }

  /**
   * Adds the updates to the weights, after which the model is one without LoRA that computes the
   * same, up to rounding. With the last LoRA of a model, what was frozen for it is thawed. This
   * object and its parameters have ended.
   *
   * @throws XTransformersError (`quantized`), which changes nothing; (`out_of_memory`): where
   *   memory ends only while it merges, some layers are merged, and another call goes on with the
   *   others; (`busy`) while a call on the model is pending
   */
  merge(): void {
    this.#end('merge')
  }

  /**
   * Takes the updates away: the model computes what it did before them. With the last LoRA of a
   * model, what was frozen for it is thawed. This object and its parameters have ended.
   *
   * @throws XTransformersError (`busy`) while a call on the model is pending
   */
  remove(): void {
    this.#end('remove')
  }

  #end(to: 'merge' | 'remove'): void {
    this.#requireLive()
    const [model, { modules }] = [this.#model, this]
    scheduleSync(`${to}()`, NO_GATES, model[GATES](), () => {
      model[CHANGE_LORA]({ modules, to })
      thawBase(model)
    })
    this.#ended = to === 'merge' ? 'was merged into the weights' : 'was removed'
  }

  #requireLive(): void {
    if (this.#ended === null) return
    throw new XTransformersError('invalid_state', `this LoRA ${this.#ended}`)
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand('a LoRA')
  }

  /** Rank, factor, and the number of layers. */
  toString(): string {
    return `LoRA(r ${this.r}, scale ${this.scale}, ${this.modules.length} layers)`
  }

  /** @internal */
  [INSPECT](): string {
    return this.toString()
  }
}

/** For static methods: a class that names itself within gets another name in bundles. */
const make = (model: Module, options: LoRAOptions, existing?: LoRALayers): LoRA =>
  existing === undefined ? new LoRA(model, options) : new LoRA(model, options, existing)

/** Adds updates to a model, in its turn; after an error there are none. */
function add(model: Module, layers: LoRALayers, context?: ContextJson): void {
  const { modules, ...to } = layers
  const present = new Set(model[LORA_LAYERS]().flatMap((other) => other.modules))
  const twice = modules.find((name) => present.has(name))
  if (twice !== undefined) {
    throw new XTransformersError(
      'invalid_state',
      `${twice} has a LoRA already: LoRA.of(model) gives it, to merge or to remove it first`,
    )
  }
  model[CHANGE_LORA]({ modules, to, ...(context && { context }) })
  try {
    freezeBase(model)
  } catch (error) {
    model[CHANGE_LORA]({ modules, to: 'remove' })
    thawBase(model)
    throw error
  }
}
