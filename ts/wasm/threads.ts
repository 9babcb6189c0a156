// The build with threads, for the worker of x-transformers/worker: a page's main thread must not
// wait, as threads do.
import { Promises } from '../promises.js'
import { wasmNative } from './addon.js'
import type { ThreadsGlue } from './glue.js'
import { compile } from './loader.js'
// @ts-expect-error: built by scripts/wasm, without declarations; glue.ts has them
import * as generated from './pkg/threads.js'
import { hasRelaxedSimd, type OnProgress, type Running } from './start.js'

const glue = generated as unknown as ThreadsGlue

/** More give little, and each takes memory. */
const MAX_THREADS = 16

/** What a Worker gets that shall be a thread. */
interface ThreadMessage {
  x_transformers_thread: { module: object; memory: object }
}

/** Why there is one thread only; null where there can be more. */
function obstacle(wanted: number): string | null {
  if (wanted < 2) return 'one thread was asked for, or the machine has one core'
  if (typeof document !== 'undefined')
    return 'threads run in a worker only: see x-transformers/worker'
  if (!self.crossOriginIsolated) {
    return 'the page is not cross-origin isolated: serve it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp'
  }
  if (typeof Worker === 'undefined') return 'this browser has no workers within workers'
  if (!hasRelaxedSimd())
    return 'this browser has no relaxed SIMD, which the build with threads needs'
  return null
}

/** Starts the build with threads, or says why it cannot. */
export async function startThreads(
  threads: number | 'auto' = 'auto',
  on_progress?: OnProgress,
  url: string | URL = new URL('./pkg/x-transformers.threads.wasm', import.meta.url),
): Promise<Running | string> {
  const count = Math.min(MAX_THREADS, threads === 'auto' ? navigator.hardwareConcurrency : threads)
  const reason = obstacle(count)
  if (reason) return reason
  try {
    const module = await compile(url, on_progress)
    const { memory } = glue.initSync({ module })
    await Promises.all(Array.from({ length: count }, () => startThread(module, memory)))
    glue.start_threads(count)
  } catch (error) {
    return `the build with threads did not start: ${(error as Error).message}`
  }
  return {
    native: wasmNative(glue),
    build: 'threads',
    threads: count,
    threads_reason: 'the page is isolated',
  }
}

/**
 * Another Worker of this same script, whichever way it was bundled; resolves once it is about to
 * wait for work.
 */
function startThread(module: object, memory: object): Promise<void> {
  const worker = new Worker(self.location.href, { type: 'module', name: 'x-transformers thread' })
  return new Promises((resolve, reject) => {
    worker.onmessage = () => resolve()
    worker.onerror = (event) => reject(new Error(event.message || 'a thread could not be started'))
    const message: ThreadMessage = { x_transformers_thread: { module, memory } }
    worker.postMessage(message)
  })
}

/** Where the message makes this Worker a thread, becomes one and does not return. */
export function becomeThread(data: unknown): void {
  const thread = (data as Partial<ThreadMessage> | null)?.x_transformers_thread
  if (!thread) return
  glue.initSync(thread)
  self.postMessage(null)
  glue.run_thread()
}
