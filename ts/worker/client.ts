import { isThenable } from '../checks.js'
import { type Progress, throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { Promises, whenEnded } from '../promises.js'
import type {
  FromWorker,
  Id,
  InitSettings,
  LearningRates,
  Operation,
  Params,
  Port,
  Request,
  Result,
  ToWorker,
} from './protocol.js'
import { unpackError } from './wire-error.js'

/** What a call of the page can be told besides its parameters. */
export interface RequestControl {
  signal?: AbortSignal | undefined
  on_progress?: ((progress: Progress) => void) | undefined
  /** Memory to give away. */
  transfer?: object[]
}

/** A call that waits for its answer. */
interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
  on_progress: RequestControl['on_progress']
  on_item: ((value: never) => void) | null
}

const START =
  'see that its script is served from the origin of the page and that the content security policy allows it (worker-src), or pass spawn({ worker }) with a Worker, or the address, of x-transformers/worker/entry'

/**
 * The page's end: asks, and finds the answers. Messages keep their order, so that calls run as they
 * were made.
 */
export class Connection {
  readonly #port: Port
  readonly #pending = new Map<Id, Pending>()
  /** How many of them somebody waits for. */
  #awaited = 0
  #last = 0
  /** Why nothing works any more. */
  #over: Error | null = null
  readonly #lost = new FinalizationRegistry<() => void>((free) => free())

  constructor(port: Port) {
    this.#port = port
    port.addEventListener('message', this.#onMessage)
    port.addEventListener('error', this.#onError)
    port.addEventListener('messageerror', this.#onError)
    port.start?.()
    port.unref?.()
  }

  /** Starts the library there, and gives its default learning rates. */
  async init(
    settings: InitSettings,
    { signal, on_progress }: Pick<RequestControl, 'signal' | 'on_progress'>,
  ): Promise<LearningRates> {
    try {
      return await this.#wait<LearningRates>(0, { signal, on_progress }, () =>
        this.#post({ type: 'init', settings }),
      )
    } catch (error) {
      this.terminate()
      throw error
    }
  }

  /** A number for a new object, or call. */
  next(): Id {
    return ++this.#last
  }

  /** Asks. Rejects with the worker's error, or at once with the reason of the signal. */
  async request<K extends Operation>(
    op: K,
    params: Params<K>,
    control: RequestControl = {},
  ): Promise<Result<K>> {
    const { signal, transfer } = control
    throwIfAborted(signal)
    const id = this.next()
    const abortable = signal !== undefined
    const ask = () =>
      this.#post({ type: 'request', id, op, params, abortable } as Request, transfer)
    return await this.#wait<Result<K>>(id, control, ask)
  }

  /** Starts a stream; `abort` ends it. Items may come when they were pulled. */
  stream<T>(params: Params<'stream'>, transfer: object[], events: StreamEvents<T>): Id {
    const id = this.next()
    if (this.#over) {
      events.on_error(this.#over)
      return id
    }
    const pending = {
      resolve: events.on_end,
      reject: events.on_error,
      on_item: events.on_item,
      on_progress: undefined,
    }
    this.#pending.set(id, pending)
    this.#post({ type: 'request', id, op: 'stream', params, abortable: false }, transfer)
    return id
  }

  pull(id: Id, count: number): void {
    if (this.#pending.has(id)) this.#post({ type: 'pull', id, count })
  }

  /** Forgets a call, and lets the worker drop it. */
  abort(id: Id): void {
    if (this.#pending.delete(id)) this.#post({ type: 'abort', id })
  }

  dispose(id: Id, lost = false): void {
    if (!this.#over) this.#post({ type: 'dispose', objects: [id], lost })
  }

  /**
   * Disposes an object in the worker once that of the page, `owner`, is garbage. A function of its
   * own: closures of one scope hold all of it.
   */
  trackObject(owner: object, id: Id): void {
    this.track(owner, () => this.dispose(id, true))
  }

  /** Calls `free`, which must not know it, once `owner` is garbage. */
  track(owner: object, free: () => void): void {
    this.#lost.register(owner, free, owner)
  }

  untrack(owner: object): void {
    this.#lost.unregister(owner)
  }

  /** Keeps Node's process going while somebody waits. */
  hold(): void {
    if (this.#awaited++ === 0) this.#port.ref?.()
  }

  release(): void {
    if (--this.#awaited === 0) this.#port.unref?.()
  }

  /** Ends the worker. */
  terminate(): void {
    this.#end(
      new XTransformersError(
        'terminated',
        'this worker was ended by terminate(): spawn() a new one, and load into it',
      ),
    )
  }

  #post(message: ToWorker, transfer: object[] = []): void {
    if (this.#over) throw this.#over
    try {
      this.#port.postMessage(message, transfer)
    } catch (error) {
      // a getter of the caller's may throw too
      if ((error as { name?: unknown } | null)?.name !== 'DataCloneError') throw error
      throw new XTransformersError(
        'invalid_argument',
        `that cannot go to a worker: ${(error as Error).message}`,
        [],
        {
          cause: error,
        },
      )
    }
  }

  #wait<T>(id: Id, { signal, on_progress }: RequestControl, start: () => void): Promise<T> {
    this.hold()
    let onAbort = () => {}
    const answer = new Promises<T>((resolve, reject) => {
      onAbort = () => {
        this.abort(id)
        reject(signal?.reason)
      }
      this.#pending.set(id, {
        resolve: resolve as (value: unknown) => void,
        reject,
        on_progress,
        on_item: null,
      })
      try {
        if (signal?.aborted) onAbort()
        else start()
      } catch (error) {
        this.#pending.delete(id)
        reject(error)
      }
    })
    signal?.addEventListener('abort', onAbort, { once: true })
    return whenEnded(answer, () => {
      signal?.removeEventListener('abort', onAbort)
      this.release()
    })
  }

  readonly #onMessage = ({ data }: { data: FromWorker }): void => {
    switch (data.type) {
      case 'ready':
        this.#settle(0)?.resolve(data.learning_rates)
        break
      case 'failed':
        this.#settle(0)?.reject(unpackError(data.error))
        break
      case 'result':
        this.#settle(data.id)?.resolve(data.value)
        break
      case 'error':
        this.#settle(data.id)?.reject(unpackError(data.error))
        break
      case 'item':
        this.#pending.get(data.id)?.on_item?.(data.value as never)
        break
      case 'progress':
        this.#tell(data.id ?? 0, data.progress)
        break
      case 'crashed':
        this.#end(unpackError(data.error))
    }
  }

  #settle(id: Id): Pending | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    return pending
  }

  #tell(id: Id, progress: Progress): void {
    const pending = this.#pending.get(id)
    const fail = (error: unknown) => {
      this.abort(id)
      pending?.reject(error)
    }
    try {
      const result: unknown = pending?.on_progress?.(progress)
      if (isThenable(result)) result.then(undefined, fail)
    } catch (error) {
      fail(error)
    }
  }

  /** The script could not be loaded, or an error was caught by nobody. */
  readonly #onError = (event: { message?: unknown }): void => {
    const message = typeof event?.message === 'string' ? event.message : ''
    const detail = message && ` (${message})`
    const text = this.#pending.has(0)
      ? `the worker could not be started${detail}: ${START}`
      : `the worker has broken down, and all that it held is lost${detail}: spawn() a new one`
    this.#end(new XTransformersError('worker', text))
  }

  #end(reason: Error): void {
    if (this.#over) return
    this.#over = reason
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    const port = this.#port
    port.removeEventListener('message', this.#onMessage)
    port.removeEventListener('error', this.#onError)
    port.removeEventListener('messageerror', this.#onError)
    if (port.terminate) port.terminate()
    else port.close?.()
    for (const call of pending) call.reject(reason)
  }
}

/** What happens to a stream. */
export interface StreamEvents<T> {
  on_item(value: T): void
  on_end(): void
  on_error(error: unknown): void
}
