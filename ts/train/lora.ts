import { BRAND, type Brand, brand } from '../brand.js'
import { checkOptions, refuse } from '../checks.js'
import { checkReading, type ReadOptions } from '../control.js'
import { XTransformersError } from '../errors.js'
import { type Source, saveTo, type Target, toBlob } from '../io/sources.js'
import { disposeAll, readTensors, writeTensorBytes } from '../io/tensor-files.js'
import { Module } from '../module/module.js'
import { matching, patternOf } from '../module/patterns.js'
import { CHANGE_LORA, ENTRIES, LORA_LAYERS, type LoraLayers } from '../module/submodule.js'
import { jsonOf } from '../native/json.js'
import { GATES, INSPECT } from '../symbols.js'
import { NO_GATES, scheduleSync } from '../tensor/schedule.js'
import type { Tensor } from '../tensor/tensor.js'
import { layersIn, unprefixed, withPrefix } from './lora-file.js'
import { checkLoRA, type LoRAOptions, scaleOf } from './lora-options.js'

/** Options of {@link LoRA.load}. */
export interface LoRALoadOptions extends ReadOptions, Pick<LoRAOptions, 'lora_alpha'> {
  /** As in {@link LoRAOptions}. */
  use_rslora?: boolean | undefined
}

/** The parameters that are no part of a LoRA. */
const NOT_LORA = /^(?!(.*\.)?lora_[AB]\.weight$)/

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
  #frozen: Tensor[] = []
  /** How it ended, in words; null while it lives. */
  #ended: string | null = null

  /**
   * @throws XTransformersError (`invalid_options`, `invalid_argument`) where a pattern fits no
   *   linear layer; (`invalid_state`) where a layer has an update already; (`busy`) while a call
   *   on the model is pending
   */
  constructor(model: Module, options?: LoRAOptions)
  /** @internal Takes over updates that are there. */
  constructor(model: Module, options: LoRAOptions | undefined, existing: LoraLayers)
  constructor(model: Module, options: LoRAOptions = {}, existing?: LoraLayers) {
    if (!(model instanceof Module)) throw refuse('the model of a LoRA', 'a Module', model)
    this.#model = model
    if (existing !== undefined) {
      ;({ modules: this.modules, r: this.r, scale: this.scale } = existing)
      return
    }
    const checked = checkLoRA(options)
    const names = linearLayers(model)
    const chosen = new Set(
      checked.target_modules.flatMap((wire) => matching(names, patternOf(wire), 'linear layer')),
    )
    this.modules = names.filter((name) => chosen.has(name))
    this.r = checked.r
    this.scale = scaleOf(checked)
    this.#add()
  }

  #add(): void {
    const [model, { modules, r, scale }] = [this.#model, this]
    const present = new Set(model[LORA_LAYERS]().flatMap((layers) => layers.modules))
    const twice = modules.find((name) => present.has(name))
    if (twice !== undefined) {
      throw new XTransformersError(
        'invalid_state',
        `${twice} has a LoRA already: LoRA.of(model) gives it, to merge or to remove it first`,
      )
    }
    scheduleSync('new LoRA()', NO_GATES, model[GATES](), () =>
      model[CHANGE_LORA]({ modules, to: { r, scale } }),
    )
    const parameters = model.namedParameters()
    this.#frozen = model.freeze(NOT_LORA).flatMap((name) => parameters.get(name) ?? [])
  }

  /** The updates that a model has: of a checkpoint of the whole model, for example. */
  static of(model: Module): LoRA[] {
    if (!(model instanceof Module)) throw refuse('the model of LoRA.of()', 'a Module', model)
    return model[LORA_LAYERS]().map((layers) => make(model, {}, layers))
  }

  /**
   * Adds the updates of a file to a model: one that {@link LoRA.save} has made, or the
   * `adapter_model.safetensors` of Python's `peft`, whose names of layers must be those of the
   * model, and whose `lora_alpha` (of `adapter_config.json`) has to be given.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`, `invalid_options`), and what the
   *   constructor throws
   * @example
   * const lora = await LoRA.load(model, 'adapter.safetensors')
   */
  static async load(model: Module, source: Source, given: LoRALoadOptions = {}): Promise<LoRA> {
    const own = ['lora_alpha', 'use_rslora', 'signal', 'on_progress']
    const { lora_alpha, use_rslora, ...reading } = checkOptions(given, 'LoRA.load()', own)
    const { tensors, metadata } = await readTensors(source, {
      ...checkReading(reading),
      widen: true,
    })
    try {
      const { modules, r, scale } = layersIn(tensors, metadata, { lora_alpha, use_rslora })
      const lora = make(model, {
        target_modules: modules.map(literal),
        r,
        lora_alpha: scale * r,
      })
      try {
        lora.#put(tensors)
      } catch (error) {
        lora.remove()
        throw error
      }
      return lora
    } finally {
      disposeAll(tensors)
    }
  }

  /** Copies values into the matrices. */
  #put(tensors: ReadonlyMap<string, Tensor>): void {
    const wanted = this.namedParameters()
    const state = unprefixed(tensors)
    const wrong = [
      ...[...wanted.keys()].filter((name) => !state.has(name)).map((name) => `${name} is missing`),
      ...[...state.keys()].filter((name) => !wanted.has(name)).map((name) => `${name} is too much`),
    ]
    if (wrong.length > 0)
      throw new XTransformersError(
        'invalid_checkpoint',
        `the file does not fit these updates:\n${wrong.join('\n')}`,
      )
    this.#model.loadStateDict(state, { strict: false, prefix: '' })
  }

  /** The matrices: `A` and `B` of each layer, in the order of the model's parameters. */
  parameters(): Tensor[] {
    return [...this.namedParameters().values()]
  }

  /** The matrices by their names in the model. */
  namedParameters(): Map<string, Tensor> {
    this.#requireLive()
    const own = new Set(this.modules.flatMap((name) => matrices(name)))
    return new Map([...this.#model.namedParameters()].filter(([name]) => own.has(name)))
  }

  /**
   * Reads values into the matrices, of a file that {@link LoRA.save} has made of these layers.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`); nothing is changed then
   */
  async load(source: Source, given: ReadOptions = {}): Promise<void> {
    this.#requireLive()
    const options = checkOptions(given, 'load()', ['signal', 'on_progress'])
    const { tensors } = await readTensors(source, { ...checkReading(options), widen: true })
    try {
      this.#put(tensors)
    } finally {
      disposeAll(tensors)
    }
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
   * Writes the matrices, as {@link saveBytes}.
   *
   * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see
   *   {@link Target}
   * @throws XTransformersError (`file`)
   */
  async save(target: Target): Promise<void> {
    this.#requireLive()
    await saveTo(target, () => this.saveBytes())
  }

  /** The matrices as a file in a Blob, such as for a download. */
  async saveBlob(): Promise<Blob> {
    return toBlob(await this.saveBytes())
  }

  /**
   * Adds the updates to the weights, after which the model is one without LoRA that computes the
   * same, up to rounding. What was frozen is thawed. This object and its parameters have ended.
   *
   * @throws XTransformersError (`quantized`, `out_of_memory`); (`busy`) while a call on the model
   *   is pending
   */
  merge(): void {
    this.#end('merge')
  }

  /**
   * Takes the updates away: the model computes what it did before them. What was frozen is thawed.
   * This object and its parameters have ended.
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
      for (const parameter of this.#frozen) parameter.requires_grad = true
    })
    this.#frozen = []
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
const make = (model: Module, options: LoRAOptions, existing?: LoraLayers): LoRA =>
  existing === undefined ? new LoRA(model, options) : new LoRA(model, options, existing)

/** The names of the linear layers of a model, each once. */
const linearLayers = (model: Module): string[] =>
  model[ENTRIES]().flatMap(({ name, linear, tied }) =>
    linear && tied === null ? name.replace(/\.?weight$/, '') : [],
  )

/** The names of the matrices of a layer. */
const matrices = (layer: string): string[] =>
  ['lora_A.weight', 'lora_B.weight'].map((name) => (layer === '' ? name : `${layer}.${name}`))

/** A pattern for this name alone. */
const literal = (name: string): RegExp =>
  new RegExp(`^${name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`)
