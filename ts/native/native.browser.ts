import { XTransformersError } from '../errors.js'
import { moduleOf } from '../wasm/loader.js'
import { single } from '../wasm/single.js'
import { type ModuleSource, type Running, startSingle } from '../wasm/start.js'
import type { Contexts, Native } from './native.js'

/** How the native side is started. */
export interface NativeSettings extends ModuleSource {
  /** Starts a build with threads, or says why it cannot (see wasm/threads.ts). */
  start_threads?: () => Promise<Running | string>
}

const notReady = new Proxy({} as Native, {
  get() {
    throw new XTransformersError(
      'invalid_state',
      "the WebAssembly module is not there yet: `await init()` of x-transformers/wasm comes first, or import from 'x-transformers', which waits for it",
    )
  },
})

/** The module for WebAssembly, once `init` has ended. */
export let native: Native = notReady
/** How it runs. */
export let running: Omit<Running, 'native'> | null = null

/** Browsers do not tell which code goes on after an `await`. */
export const contexts: Contexts | null = null

let starting: Promise<void> | null = null

/**
 * Loads WebAssembly, once; later calls wait for the first. After a failure it can be called again.
 *
 * @throws XTransformersError (`no_addon`) where the file cannot be loaded or used
 */
export function init(settings: NativeSettings = {}): Promise<void> {
  starting ??= start(settings).catch((error) => {
    starting = null
    throw error
  })
  return starting
}

async function start(settings: NativeSettings): Promise<void> {
  const threads =
    (await settings.start_threads?.()) ?? 'threads run in a worker only: see x-transformers/worker'
  const started =
    typeof threads === 'string' ? startSingle(single, await moduleOf(settings), threads) : threads
  ;({ native, ...running } = started)
}
