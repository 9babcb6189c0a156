import { Promises } from '../promises.js'
import type { Connection } from './client.js'
import type { Id } from './protocol.js'
import type { RemoteHandle } from './remote.js'
import { splitSignal } from './remote-model.js'
import { packArguments, REMOTE } from './values.js'

/** How many tokens the worker may be ahead of the reader. */
const AHEAD = 4

interface Waiting<Row> {
  resolve(result: IteratorResult<Row, undefined>): void
  reject(error: unknown): void
}

/**
 * What has come of a stream. Knows nothing of the iterator, so that one that nobody reads can be
 * garbage.
 */
class Buffer<Row> {
  readonly #rows: Row[] = []
  readonly #waiting: Waiting<Row>[] = []
  #ended = false
  #failure: { error: unknown } | null = null

  readonly on_item = (row: Row): void => {
    const reader = this.#waiting.shift()
    if (reader) reader.resolve({ done: false, value: row })
    else this.#rows.push(row)
  }

  readonly on_end = (): void => {
    this.#ended = true
    for (const reader of this.#waiting.splice(0)) reader.resolve({ done: true, value: undefined })
  }

  readonly on_error = (error: unknown): void => {
    if (this.#ended) return
    this.#failure = { error }
    this.#tellFailure()
    this.on_end()
  }

  /** To the first reader; the others see the end. */
  #tellFailure(): void {
    const reader = this.#failure && this.#waiting.shift()
    if (!reader) return
    reader.reject(this.#failure?.error)
    this.#failure = null
  }

  /** Drops what nobody has read. */
  clear(): void {
    this.#rows.length = 0
  }

  next(): Promise<IteratorResult<Row, undefined>> {
    const row = this.#rows.shift()
    if (row !== undefined) return Promises.resolve({ done: false, value: row })
    return new Promises((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#tellFailure()
      if (this.#ended) this.on_end()
    })
  }
}

/** A model, as far as a stream needs it. */
interface Streaming {
  readonly [REMOTE]: RemoteHandle
}

/**
 * Tokens as they are made in the worker: only as fast as they are read, but for a few that are made
 * ahead.
 */
class TokenStream<Row> implements AsyncIterableIterator<Row, undefined> {
  /** Stays as long as its stream. */
  readonly #model: Streaming
  readonly #id: Id
  readonly #buffer: Buffer<Row>
  readonly #forget: () => void
  #started = false

  constructor(model: Streaming, args: readonly unknown[], signal: AbortSignal | undefined) {
    const { connection, id: object } = model[REMOTE]
    const buffer = new Buffer<Row>()
    const { value, transfer } = packArguments(args, connection, 'the arguments of stream()')
    const id = connection.stream<Row>({ object, args: value }, transfer, buffer)
    const onAbort = () => {
      connection.abort(id)
      buffer.clear()
      buffer.on_error(signal?.reason)
    }
    if (signal?.aborted) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
    const forget = () => signal?.removeEventListener('abort', onAbort)
    this.#forget = forget
    this.#model = model
    this.#id = id
    this.#buffer = buffer
    connection.track(this, () => {
      forget()
      connection.abort(id)
    })
  }

  get #connection(): Connection {
    return this.#model[REMOTE].connection
  }

  async next(): Promise<IteratorResult<Row, undefined>> {
    // one for each that is read, and some more at first
    this.#connection.pull(this.#id, this.#started ? 1 : AHEAD)
    this.#started = true
    this.#connection.hold()
    try {
      const result = await this.#buffer.next()
      if (result.done) this.#close()
      return result
    } catch (error) {
      this.#close()
      throw error
    } finally {
      this.#connection.release()
    }
  }

  /** Ends the generation in the worker; `for await` calls it when the loop is left. */
  async return(): Promise<IteratorResult<Row, undefined>> {
    this.#close()
    this.#buffer.clear()
    this.#buffer.on_end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #close(): void {
    this.#forget()
    this.#connection.abort(this.#id)
    this.#connection.untrack(this)
  }
}

/** The stream of `model`; the last argument may have a signal. */
export function streamOf<Row>(
  model: Streaming,
  given: readonly unknown[],
): AsyncIterableIterator<Row> {
  const { args, signal } = splitSignal(given)
  return new TokenStream<Row>(model, args, signal)
}
