import { Promises } from '../promises.js'

/**
 * Lets everything else that waits have its turn: input, painting, messages. A computation on this thread lets nothing through until
 * it ends.
 */
export function turn(): Promise<void> {
  return new Promises((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve)
    // jsdom has neither
    else if (typeof MessageChannel === 'undefined') setTimeout(resolve)
    else {
      waiting.push(resolve)
      channel().postMessage(null)
    }
  })
}

const waiting: (() => void)[] = []
let port: MessagePort | null = null

/** Timers wait four milliseconds once they are nested; a message does not. */
function channel(): MessagePort {
  if (!port) {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => waiting.shift()?.()
    port = port2
  }
  return port
}
