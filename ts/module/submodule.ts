/** A model, as far as the models around it need it: what leads to it does not import the class. */
import type { ContextJson } from '../native/native.js'
import { GATES } from '../symbols.js'
import type { Device } from '../tensor/device.js'
import type { Gates } from '../tensor/schedule.js'
import type { Entry, StateDict } from './entries.js'

/** How {@link Module.quantize} keeps weights: in 8.5, 4.5 or 16 bits each, in place of 32. */
export type Quantization = 'q8_0' | 'q4_0' | 'bf16'

// Symbols, so that a user's own members never meet ours.
export const ENTRIES: unique symbol = Symbol('x-transformers.entries')
export const ASSIGN: unique symbol = Symbol('x-transformers.assign')
/** What a file with the weights says of the model. */
export const METADATA: unique symbol = Symbol('x-transformers.metadata')
/** The low-rank updates of linear layers. */
export const LORA_LAYERS: unique symbol = Symbol('x-transformers.loraLayers')
/** Adds low-rank updates, merges or removes them. */
export const CHANGE_LORA: unique symbol = Symbol('x-transformers.changeLora')
/** Checks that low-rank updates can be merged. */
export const CHECK_MERGE: unique symbol = Symbol('x-transformers.checkMerge')
/** Begins or ends that calls record the sizes of the outputs of layers. */
export const RECORD: unique symbol = Symbol('x-transformers.record')
/** What was recorded since the last time, by the names of the layers. */
export const RECORDED: unique symbol = Symbol('x-transformers.recorded')
export const FORGET: unique symbol = Symbol('x-transformers.forget')

/** Linear layers whose low-rank updates `scale * B A` have one rank and one factor. */
export interface LoRALayers {
  /** The names of the layers: those of their weights without `.weight`. */
  modules: string[]
  /** The rank: `A` is `[r, in]`, `B` is `[out, r]`. */
  r: number
  /** The factor of the product `B A`: `lora_alpha / r`, or `lora_alpha / sqrt(r)` in rsLoRA. */
  scale: number
}

/** A change of low-rank updates of the layers with these names. */
export interface LoRAChange {
  modules: readonly string[]
  /** Rank and factor of new ones; or what happens to those that are there. */
  to: Omit<LoRALayers, 'modules'> | 'merge' | 'remove'
  /** The random numbers of new ones; absent: the next ones. */
  context?: ContextJson
}

/** The outputs of a layer. */
export interface Squares {
  /** The sum of the squares of all elements. */
  sum: number
  /** The number of elements. */
  elements: number
}

/** The outputs of layers by their names. */
export type Recorded = ReadonlyMap<string, Squares>

/** What a model asks of those within it. */
export interface Submodule {
  readonly quantization: Quantization | null
  train(on?: boolean): unknown
  to(device: Device): unknown
  quantize(format: Quantization): unknown
  dispose(): void
  [ENTRIES](): Entry[]
  [METADATA](): Record<string, string>
  [GATES](): Gates
  [ASSIGN](state: StateDict): void
  [LORA_LAYERS](): LoRALayers[]
  [CHECK_MERGE](modules: readonly string[]): void
  [CHANGE_LORA](change: LoRAChange): void
  [RECORD](on: boolean): void
  [RECORDED](): Promise<Recorded>
}

/** By what every model has: the class is not imported here. */
export const isModule = (value: unknown): value is Submodule =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<Submodule>)[ENTRIES] === 'function'
