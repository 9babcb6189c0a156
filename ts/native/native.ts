/**
 * What both addons (napi-rs for Node, wasm-bindgen for the browser) implement: opaque handles, JSON
 * for control data, bytes for tensors. Everything above it is typed TypeScript that never knows
 * which of the two it talks to. The methods are generated from their declarations in
 * crates/bindings/src/methods.
 *
 * Errors arrive as `Error` whose message is JSON: `{ "code", "message", "problems" }` (see
 * errors.ts).
 */

import type { NativeFunctions } from './methods.gen.js'
import type { NativeAbortFlag } from './types.js'

export type {
  NativeFunctions,
  NativeGeneration,
  NativeModule,
  NativeOptimizer,
  NativeReader,
  NativeResult,
  NativeTensor,
} from './methods.gen.js'

export type { ContextJson, DType, NativeAbortFlag } from './types.js'

/** JSON of `NativeModule.describe()`. */
export interface ModuleDescription {
  class: string
  /** As given to the constructor; nested models as `{ "class", "options" }`. */
  options: Record<string, unknown>
  /**
   * In the order of the Python package's state dict. `tied`: the entry whose tensor this one
   * shares; `linear`: whether it is the weight of a linear layer.
   */
  entries: {
    name: string
    shape: number[]
    kind: 'parameter' | 'buffer'
    tied: string | null
    linear: boolean
  }[]
  /** Layers with low-rank updates, those of equal rank and factor together. */
  lora: { modules: string[]; r: number; scale: number }[]
  /**
   * Why generation cannot keep keys and values between its steps; null where it can, and for models
   * that generate nothing that way.
   */
  not_cacheable: string | null
}

/** How a file of tensors is read. */
export interface ReaderSettings {
  /** In bytes; null where it is not known. */
  size: number | null
  /** Which of several state dicts in a file of PyTorch. */
  key: string | null
  /** Whether values of half precision become f32. */
  widen: boolean
  /** Whether the state of an optimizer is wanted of a file of PyTorch, instead of weights. */
  optimizer: boolean
}

/** What an addon exports. */
export interface Native extends NativeFunctions {
  /** A function, so that no class of the addon leaks into the façade. */
  abortFlag(): NativeAbortFlag
}

/** What tells which code goes on after an `await`: an AsyncLocalStorage of Node. */
export interface Contexts {
  run<T>(store: unknown, fn: () => T): T
  getStore(): unknown
  /** It costs every promise of the program something, until this. */
  disable(): void
}
