// For edge runtimes, in place of event-loop.ts: there a message port belongs to the request that
// made it, and Node's modules must not be asked for.
import { Promises } from '../promises.js'

/** Lets everything else that waits have its turn. */
export const yieldToEventLoop = (): Promise<void> =>
  new Promises((resolve) => void setTimeout(resolve))
