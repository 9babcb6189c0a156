import { native, running } from '#native'
import { guarded, XTransformersError } from './errors.js'

/** What {@link info} tells. */
export interface RuntimeInfo {
  /** Version of the native side. */
  version: string
  /** What it was built for. */
  target: 'native' | 'wasm'
  /** How many threads it uses. */
  threads: number
  /** In WebAssembly: why so many. */
  threads_reason?: string
  /** In WebAssembly: which of the builds runs. `relaxed` is faster, `threads` uses several cores. */
  build?: 'plain' | 'relaxed' | 'threads'
  /** Whether it can use a GPU. */
  cuda: boolean
}

/** What computes here. */
export function info(): RuntimeInfo {
  const { simd: _, ...known } = JSON.parse(native.info())
  return { ...known, ...running }
}

/** Sets how many threads the native side uses. */
export function setNumThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1) {
    throw new XTransformersError('invalid_argument', `setNumThreads takes a whole number from 1, got ${String(count)}`)
  }
  guarded(() => native.setNumThreads(count))
}
