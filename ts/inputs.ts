/** Bytes that are read by their place, as far as each kind of source can do that, in pieces. */
import { describe } from './data.js'
import { XTransformersError } from './errors.js'
import {
  allocate,
  fileError,
  isBytes,
  type Origin,
  type Progress,
  type ReadOptions,
  reasonOf,
  throwIfAborted,
  truncated,
} from './streams.js'

/** Something that is read, piece by piece. */
export interface Input {
  /** In bytes; null where only its end tells. */
  readonly size: number | null
  /**
   * Up to `length` bytes from `offset` on, fewer at the end; they may be gone at the next read. Where the size is not known, `offset` never
   * goes back.
   */
  read(offset: number, length: number): Promise<Uint8Array>
  /** The same with a known size: for a source that comes from front to back, what is left of it is read into memory. */
  sized(): Promise<SizedInput>
  /** Tells that all has come. */
  end(): void
  /** Lets go of the source; `failure`: why not all was read, whatever was thrown. */
  close(failure?: { readonly error: unknown }): Promise<void>
}

export type SizedInput = Input & { readonly size: number }

/** The same at once. */
export interface SyncInput {
  readonly size: number
  read(offset: number, length: number): Uint8Array
  close(): void
}

/** Bytes that are there already, at once. */
export function inMemory(bytes: Uint8Array): SyncInput {
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length), close: () => {} }
}

/** Tells how far a read has come. */
export class Meter {
  #loaded = 0
  #told: Progress | null = null
  #total: number | null
  readonly #on_progress: ReadOptions['on_progress']

  constructor(total: number | null, on_progress: ReadOptions['on_progress']) {
    this.#total = total
    this.#on_progress = on_progress
  }

  get loaded(): number {
    return this.#loaded
  }

  add(bytes: number): void {
    this.#loaded += bytes
    // the size was that of the compressed bytes: from here on it is unknown
    if (this.#total !== null && this.#loaded > this.#total) this.#total = null
    this.#tell(this.#total)
  }

  /** All has come; `skipped` bytes nobody wanted. */
  end(skipped = 0): void {
    this.#loaded += skipped
    if (this.#told?.total !== this.#loaded || this.#told.loaded !== this.#loaded) this.#tell(this.#loaded)
  }

  #tell(total: number | null): void {
    this.#told = { loaded: this.#loaded, total }
    this.#on_progress?.(this.#told)
  }
}

/** Bytes in memory. */
export class MemoryInput implements SizedInput {
  constructor(readonly bytes: Uint8Array) {}

  get size(): number {
    return this.bytes.length
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.bytes.subarray(offset, offset + length)
  }

  async sized(): Promise<SizedInput> {
    return this
  }

  end(): void {}

  async close(): Promise<void> {}
}

/** What each place can be read of: a file, a Blob. Pieces that nobody wants are not read. */
export abstract class PlacedInput implements SizedInput {
  readonly #meter: Meter
  readonly #signal: AbortSignal | undefined

  constructor(
    readonly size: number,
    { signal, on_progress }: ReadOptions,
  ) {
    this.#meter = new Meter(size, on_progress)
    this.#signal = signal
  }

  protected abstract fetch(offset: number, length: number): Promise<Uint8Array>

  async read(offset: number, length: number): Promise<Uint8Array> {
    throwIfAborted(this.#signal)
    const bytes = await this.fetch(offset, Math.max(0, Math.min(length, this.size - offset)))
    throwIfAborted(this.#signal)
    // what is read twice, such as the end of a zip file, counts once at most
    this.#meter.add(Math.min(bytes.length, this.size - this.#meter.loaded))
    return bytes
  }

  async sized(): Promise<SizedInput> {
    return this
  }

  end(): void {
    this.#meter.end(this.size - this.#meter.loaded)
  }

  async close(): Promise<void> {}
}

/** A Blob or File. */
export class BlobInput extends PlacedInput {
  readonly #blob: Blob
  readonly #name: string

  constructor(blob: Blob, options: ReadOptions) {
    super(blob.size, options)
    const { name } = blob as { name?: unknown }
    this.#blob = blob
    this.#name = typeof name === 'string' && name ? name : 'the Blob'
  }

  protected async fetch(offset: number, length: number): Promise<Uint8Array> {
    try {
      return new Uint8Array(await this.#blob.slice(offset, offset + length).arrayBuffer())
    } catch (error) {
      throw fileError(`${this.#name} broke off after ${offset} bytes: ${reasonOf(error)}`, error)
    }
  }
}

function readerOf(stream: ReadableStream<Uint8Array>, name: string): ReadableStreamDefaultReader<Uint8Array> {
  try {
    return stream.getReader()
  } catch (error) {
    throw fileError(`${name} is read by someone else already: give a new one`, error)
  }
}

function checkChunk(chunk: unknown, name: string): Uint8Array {
  if (isBytes(chunk)) return chunk
  throw new XTransformersError(
    'invalid_argument',
    `${name} must give pieces of type Uint8Array, got ${describe(chunk)}`,
  )
}

/** A stream: read from front to back. It is cancelled when the reading fails. */
export class StreamInput implements Input {
  /** What a stream says of its size is told as progress, and not relied upon. */
  readonly size = null
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #origin: Origin
  readonly #signal: AbortSignal | undefined
  readonly #meter: Meter
  /** What has come and was not wanted yet. */
  #chunks: Uint8Array[] = []
  /** What the first read has taken, until the second. */
  #head: Uint8Array | null = null
  #waiting = 0
  #position = 0
  #done = false

  constructor(stream: ReadableStream<Uint8Array>, origin: Origin, { signal, on_progress }: ReadOptions) {
    this.#reader = readerOf(stream, origin.name)
    this.#origin = origin
    this.#signal = signal
    this.#meter = new Meter(origin.size, on_progress)
    // a pending read then ends at once
    signal?.addEventListener('abort', this.#cancel, { once: true })
    if (signal?.aborted) this.#cancel()
  }

  readonly #cancel = (reason: unknown = undefined): void => {
    const why = this.#signal?.aborted ? this.#signal.reason : reason
    this.#reader.cancel(why).catch(() => {})
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    await this.#skip(offset - this.#position)
    await this.#has(length)
    const first = this.#position === 0
    const bytes = this.#take(Math.min(length, this.#waiting))
    this.#head = first ? bytes : null
    return bytes
  }

  async #skip(length: number): Promise<void> {
    let left = length
    while (left > 0 && (await this.#has(1))) left -= this.#take(Math.min(left, this.#waiting)).length
  }

  /** Whether so many bytes wait to be taken; only at the end fewer. */
  async #has(length: number): Promise<boolean> {
    while (this.#waiting < length && !this.#done) await this.#pull()
    return this.#waiting >= length
  }

  async #pull(): Promise<void> {
    throwIfAborted(this.#signal)
    const { name, exact, size } = this.#origin
    const { done, value } = await this.#reader.read().catch((error) => {
      throwIfAborted(this.#signal)
      throw fileError(`${name} broke off after ${this.#meter.loaded} bytes: ${reasonOf(error)}`, error)
    })
    throwIfAborted(this.#signal)
    if (done) {
      this.#done = true
      if (exact && size !== null && this.#meter.loaded < size) throw truncated(this.#origin, this.#meter.loaded)
      return
    }
    const chunk = checkChunk(value, name)
    this.#chunks.push(chunk)
    this.#waiting += chunk.length
    this.#meter.add(chunk.length)
    throwIfAborted(this.#signal)
  }

  /** Takes bytes that wait, in a piece of their own where they have come in several. */
  #take(length: number): Uint8Array {
    const first = this.#chunks[0]
    this.#position += length
    this.#waiting -= length
    if (first === undefined || first.length > length) {
      if (first) this.#chunks[0] = first.subarray(length)
      return first?.subarray(0, length) ?? new Uint8Array(0)
    }
    if (first.length === length) return this.#chunks.shift() as Uint8Array
    return this.#join(length)
  }

  #join(length: number): Uint8Array {
    const joined = allocate(length, this.#origin.name)
    let [at, used] = [0, 0]
    for (const chunk of this.#chunks) {
      const part = chunk.subarray(0, length - at)
      joined.set(part, at)
      at += part.length
      if (part.length < chunk.length) {
        this.#chunks[used] = chunk.subarray(part.length)
        break
      }
      used++
    }
    this.#chunks.splice(0, used)
    return joined
  }

  /** After the first read at the latest, whose bytes are part of the whole. */
  async sized(): Promise<SizedInput> {
    while (!this.#done) await this.#pull()
    if (this.#head) this.#chunks.unshift(this.#head)
    this.#waiting += this.#head?.length ?? 0
    return new MemoryInput(this.#take(this.#waiting))
  }

  end(): void {
    this.#signal?.removeEventListener('abort', this.#cancel)
    this.#meter.end()
  }

  async close(failure?: { readonly error: unknown }): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#cancel)
    if (failure) this.#cancel(failure.error)
  }
}
