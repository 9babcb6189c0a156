/**
 * What wasm-bindgen generates from crates/wasm: functions over handles, which are numbers. Errors
 * arrive as strings of JSON, as native.ts says. Modules and memories are `object`s: published types
 * must not need those of the DOM.
 */
import type { MethodsGlue } from './glue.gen.js'

export interface Glue extends MethodsGlue {
  /** Makes the instance, once. `memory`: of the threads' build, which imports it. */
  initSync(settings: { module: object; memory?: object; thread_stack_size?: number }): {
    memory: WasmMemory
  }
  /** Bytes that can still be allocated. */
  memory_available(): number
  /** The message of the panic that has ended the module. */
  last_words(): string | undefined
  /** Bytes requested by the last allocation that failed; 0 where none has. */
  failed_allocation(): number
}

/** Of the build with threads. */
export interface ThreadsGlue extends Glue {
  /** Runs one of the pool's threads on the calling Worker; does not return. */
  run_thread(): void
  start_threads(count: number): void
}

/** A `WebAssembly.Memory`. */
export interface WasmMemory {
  readonly buffer: ArrayBufferLike
}
