import { Promises } from '../promises.js'

type Immediate = ((run: () => void) => unknown) & { clock?: unknown }

interface Builtins {
  timers: { setImmediate: Immediate }
  worker_threads: { MessageChannel: typeof MessageChannel }
}

/** Node's own module, whatever stands in the globals. */
function builtin<K extends keyof Builtins>(name: K): Builtins[K] | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } }
  return process?.getBuiltinModule?.(name) as Builtins[K] | undefined
}

// All are those of when this is loaded: tests put timers in their place that stand still. Where
// they have done so before, those of sinon have a `clock`, and Node's module may have the real
// ones.
const { setTimeout } = globalThis
const channels = globalThis.MessageChannel ?? builtin('worker_threads')?.MessageChannel
const immediate = [
  builtin('timers')?.setImmediate,
  (globalThis as { setImmediate?: Immediate }).setImmediate,
].find((found) => typeof found === 'function' && !found.clock)

/**
 * Lets everything else that waits have its turn: input, painting, messages. A computation on this
 * thread lets nothing through until it ends.
 */
export function yieldToEventLoop(): Promise<void> {
  return new Promises((resolve) => {
    if (immediate) immediate(resolve)
    // jsdom has neither
    else if (!channels) setTimeout(resolve)
    else {
      waiting.push(resolve)
      channel(channels).postMessage(null)
    }
  })
}

/** In Node a port keeps the process going, unless it is told not to. */
type Port = MessagePort & { ref?(): void; unref?(): void }

const waiting: (() => void)[] = []
let ports: { from: Port; to: Port } | null = null

/** Timers wait four milliseconds once they are nested; a message does not. */
function channel(Channel: typeof MessageChannel): MessagePort {
  if (!ports) {
    const { port1, port2 } = new Channel() as { port1: Port; port2: Port }
    port1.onmessage = () => {
      waiting.shift()?.()
      if (waiting.length === 0) port1.unref?.()
    }
    ports = { from: port2, to: port1 }
  }
  ports.to.ref?.()
  return ports.from
}
