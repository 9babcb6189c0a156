/**
 * What the worker of `spawn()` runs. No top-level await: bundlers make classic workers of this,
 * which do not know it.
 */
import { init, type NativeSettings } from '../native/native.browser.js'
import { becomeThread, startThreads } from '../wasm/threads.js'
import { serve, type Tell } from './host/serve.js'
import type { InitSettings, Port } from './protocol.js'

function start(
  { threads, threads_url, ...source }: InitSettings,
  on_progress: Tell,
): Promise<void> {
  const settings = {
    ...source,
    on_progress,
    start_threads: () => startThreads(threads, on_progress, threads_url),
  }
  return init(settings as NativeSettings)
}

// the threads are workers of this same script
self.addEventListener('message', ({ data }) => becomeThread(data), { once: true })
serve(self as unknown as Port, start)
