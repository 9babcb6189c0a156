/** The worker's side: the library behind a port. */
import { XTransformersError } from '../../errors.js'
import { resolveOptions } from '../../models/options.js'
import * as optimizers from '../../train/optimizers.js'
import type { FromWorker, Id, InitSettings, Port, Request, ToWorker } from '../protocol.js'
import { packError } from '../wire-error.js'
import { Call } from './call.js'
import { run } from './operations.js'
import { Queue } from './queue.js'
import { Table } from './table.js'

/**
 * Answers what comes through `port`, with the library of this thread.
 *
 * @param init what has to happen before the first call
 * @returns ends it, and frees everything that was made
 */
export function serve(port: Port, init?: Init): () => void {
  const host = new Host(port, init)
  return () => host.end()
}

type Init = (settings: InitSettings, tell: Tell) => Promise<void> | void

class Host {
  readonly #port: Port
  readonly #init: Init | undefined
  readonly #queue = new Queue()
  readonly #table = new Table()
  readonly #calls = new Map<Id, Call>()
  #ended = false

  constructor(port: Port, init: Init | undefined) {
    this.#port = port
    this.#init = init
    port.addEventListener('message', this.#onMessage)
    port.start?.()
  }

  end(): void {
    this.#ended = true
    this.#port.removeEventListener('message', this.#onMessage)
    for (const call of this.#calls.values()) call.abort()
    this.#later(() => this.#table.clear())
  }

  /**
   * For what nobody waits for: where freeing fails, nothing works any more, and the calls say so.
   */
  #later(work: () => void): void {
    this.#queue.run(work).catch(() => {})
  }

  readonly #send = (message: FromWorker, transfer: object[] = []): void => {
    if (!this.#ended) this.#port.postMessage(message, transfer)
  }

  readonly #onMessage = ({ data }: { data: ToWorker }): void => {
    switch (data?.type) {
      case 'init':
        void this.#start(data.settings)
        break
      case 'request':
        void this.#answer(data)
        break
      case 'abort':
        this.#calls.get(data.id)?.abort()
        break
      case 'pull':
        this.#calls.get(data.id)?.pull(data.count)
        break
      case 'dispose':
        this.#later(() => this.#table.dispose(data.objects, data.lost))
        break
    }
  }

  async #start(settings: InitSettings): Promise<void> {
    try {
      await this.#init?.(settings, (progress) =>
        this.#send({ type: 'progress', id: null, progress }),
      )
      this.#send({ type: 'ready', learning_rates: defaultRates() })
    } catch (error) {
      this.#send({ type: 'failed', error: packError(error) })
    }
  }

  async #answer(request: Request): Promise<void> {
    const { id, abortable } = request
    const call = new Call(id, this.#queue, this.#table, this.#send, abortable)
    this.#calls.set(id, call)
    try {
      const { value, transfer } = await run(request, call)
      this.#send({ type: 'result', id, value }, transfer)
    } catch (error) {
      if (isBreakdown(error)) this.#send({ type: 'crashed', error: packError(error) })
      else if (!call.signal.aborted) this.#send({ type: 'error', id, error: packError(error) })
    } finally {
      this.#calls.delete(id)
    }
  }
}

/** Of each optimizer, as its options declare it. */
const defaultRates = () =>
  Object.fromEntries(
    Object.keys(optimizers).map((name) => [
      name,
      resolveOptions<{ lr: number }>(name, {} as never).lr,
    ]),
  )

/** Tells how far something has come. */
export type Tell = (progress: { loaded: number; total: number | null }) => void

/** Whether the native side is gone: after a trap nothing in WebAssembly can be trusted. */
function isBreakdown(error: unknown): boolean {
  if (!(error instanceof XTransformersError)) return false
  return (
    (error.cause as Error | undefined)?.name === 'RuntimeError' ||
    /WebAssembly module has stopped/.test(error.message)
  )
}
