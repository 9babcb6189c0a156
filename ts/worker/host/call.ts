import { throwIfAborted } from '../../control.js'
import { XTransformersError } from '../../errors.js'
import { Promises } from '../../promises.js'
import type { FromWorker, Id } from '../protocol.js'
import type { Queue } from './queue.js'
import type { Table } from './table.js'

/** A call that the page has made, on its way. */
export class Call {
  readonly #controller = new AbortController()
  #credit = 0
  #wake = () => {}

  constructor(
    readonly id: Id,
    readonly queue: Queue,
    readonly table: Table,
    readonly send: (message: FromWorker, transfer?: object[]) => void,
    readonly abortable: boolean,
  ) {}

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  abort(): void {
    this.#controller.abort(new XTransformersError('aborted', 'the page wants it no more'))
    this.#wake()
  }

  /** So many more items may be sent. */
  pull(count: number): void {
    this.#credit += count
    this.#wake()
  }

  /** Resolves when an item may be sent: false after an abort. */
  async mayGoOn(): Promise<boolean> {
    while (this.#credit === 0 && !this.signal.aborted) {
      await new Promises<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#credit--
    return !this.signal.aborted
  }

  /** Runs `work` in the order of the calls; not at all once nobody wants it. */
  inOrder<T>(work: () => Promise<T> | T): Promise<T> {
    return this.queue.run(() => {
      throwIfAborted(this.signal)
      return work()
    })
  }
}
