import { AsyncLocalStorage } from 'node:async_hooks'
import type { ModuleSource } from '../wasm/start.js'
import { find } from './find.node.js'
import type { Contexts, Native } from './native.js'

const found = find()

/** The addon for this platform, or the module for WebAssembly. */
export const native: Native = found.native
/** How the module for WebAssembly runs; null where there is an addon. */
export const running = found.running

/** Tells which code goes on after an `await`. */
export const contexts: Contexts | null = new AsyncLocalStorage<unknown>()

/** For programs that run in browsers too: in Node everything is there once it is imported. */
export async function init(_settings?: ModuleSource): Promise<void> {}
