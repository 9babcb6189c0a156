// not the global, which jsdom takes away
import { MessageChannel } from 'node:worker_threads'
import { running } from '#native'
// Whatever loads this has all of the library then, in one file: see scripts/bundle.mjs.
import '../index.js'
import { XTransformersError } from '../errors.js'
import { setNumThreads } from '../native/runtime.js'
import { serve } from './host/serve.js'
import type { Port } from './protocol.js'

/** The library of this process behind a port: what is heavy runs off the main thread anyway. */
export function start(worker?: unknown): Port {
  if (worker !== undefined) {
    throw new XTransformersError(
      'invalid_argument',
      'the option worker is for browsers: in Node there is none to choose',
    )
  }
  const { port1, port2 } = new MessageChannel()
  const stop = serve(port2 as unknown as Port, ({ threads }) => {
    // `running`: WebAssembly, where there is no addon. It has one thread, as on a page that is not
    // isolated; `info()` says so
    if (typeof threads === 'number' && !running) setNumThreads(threads)
  })
  // the page's end alone keeps the process going, while somebody waits
  port2.unref()
  return Object.assign(port1 as unknown as Port, {
    terminate() {
      stop()
      port1.close()
      port2.close()
    },
  })
}
