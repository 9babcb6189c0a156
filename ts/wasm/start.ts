import type { Progress } from '../control.js'
import { XTransformersError } from '../errors.js'
import type { Native } from '../native/native.js'
import { wasmNative } from './addon.js'
import type { Glue } from './glue.js'

/** How much of the module's file is there. */
export type OnProgress = (progress: Progress) => void

/**
 * Where the WebAssembly module comes from. Without any of these: the file that the package brings.
 */
export interface ModuleSource {
  /**
   * Address of `x-transformers.wasm` (or `x-transformers.relaxed.wasm`), where the page has placed
   * it.
   */
  url?: string | URL | undefined
  /** The content of that file. */
  bytes?: ArrayBuffer | ArrayBufferView | undefined
  /** That file, compiled: a `WebAssembly.Module`, a type that programs for Node do not know. */
  module?: object | undefined
  /** Told how much of the file is there, while it is fetched. */
  on_progress?: OnProgress | undefined
}

/** An instance of the module, and what is known of how it runs. */
export interface Running {
  native: Native
  /** Which of the builds this is. */
  build: 'plain' | 'relaxed' | 'threads'
  threads: number
  /** Why so many threads. */
  threads_reason: string
}

/** An error about the module's file. */
export const failed = (message: string, cause?: unknown) =>
  new XTransformersError('no_addon', `the WebAssembly module of x-transformers ${message}`, [], {
    cause,
  })

export const unusable = (error: unknown) =>
  failed(`cannot be used here (it needs SIMD): ${(error as Error).message}`, error)

/**
 * Relaxed SIMD: a multiplication and an addition as one instruction. The smallest module with one
 * of its instructions.
 */
const RELAXED_PROBE = Uint8Array.of(
  ...[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253,
    15, 65, 2, 253,
  ],
  ...[15, 253, 128, 2, 11],
)

/** Whether this engine has relaxed SIMD. */
export const hasRelaxedSimd = () => WebAssembly.validate(RELAXED_PROBE)

/** An instance with one thread. */
export function startSingle(glue: Glue, module: object, reason: string): Running {
  try {
    glue.initSync({ module })
  } catch (error) {
    throw unusable(error)
  }
  const { simd } = JSON.parse(glue.info()) as { simd: string }
  return {
    native: wasmNative(glue),
    build: simd === 'relaxed' ? 'relaxed' : 'plain',
    threads: 1,
    threads_reason: reason,
  }
}
