// For edge runtimes, such as workerd: they give a WebAssembly file already compiled, to an import,
// and may compile none themselves.

// @ts-expect-error: scripts/bundle.mjs writes what each runtime calls it
import module from '#module'
import { single } from '../wasm/single.js'
import { startSingle } from '../wasm/start.js'
import type { Contexts, Native } from './native.js'

// Next.js compiles it in another realm, where this class is another one
if (!(module instanceof WebAssembly.Module))
  Object.setPrototypeOf(module, WebAssembly.Module.prototype)

const started = startSingle(single, module, 'edge runtimes have one thread')

export const native: Native = started.native
/** How it runs. */
export const running = started
export const contexts: Contexts | null = null

/** Nothing: the module is there from the start. */
export const init = (): Promise<void> => Promise.resolve()
