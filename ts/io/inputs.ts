/** Bytes that are read by their place, as far as each kind of source can do that, in pieces. */
import { has, refuse, tagOf } from '../checks.js'
import { type Progress, type ReadOptions, throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { fileError, nameOf, reasonOf, truncated } from './file-errors.js'

/** Refuses so many bytes for `what` where they are more than memory can hold. */
export type RequireMemory = (bytes: number, what: string) => void

/** Something that is read, piece by piece. */
export interface Input {
  /** In bytes; null where only its end tells. */
  readonly size: number | null
  /**
   * Up to `length` bytes from `offset` on, fewer at the end; they may be gone at the next read.
   * Where the size is not known, `offset` never goes back.
   */
  read(offset: number, length: number): Promise<Uint8Array>
  /**
   * The same with a known size: for a source that comes from front to back, what is left of it is
   * read into memory, as far as there is room.
   */
  sized(requireMemory: RequireMemory): Promise<SizedInput>
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
  return {
    size: bytes.length,
    read: (offset, length) => bytes.subarray(offset, offset + length),
    close: () => {},
  }
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
    if (this.#told?.total !== this.#loaded || this.#told.loaded !== this.#loaded)
      this.#tell(this.#loaded)
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

/** The bytes of a Blob. Where it has no method for that, as in jsdom, the page has a FileReader. */
function bufferOf(blob: Blob): Promise<unknown> | unknown {
  if (has(blob, 'arrayBuffer')) return blob.arrayBuffer()
  if (typeof FileReader !== 'function')
    throw new Error('it has no arrayBuffer(), and there is no FileReader')
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(reader.result)
    reader.onerror = () => reject(reader.error)
    reader.readAsArrayBuffer(blob)
  })
}

/** A Blob or File. */
export class BlobInput extends PlacedInput {
  readonly #blob: Blob
  readonly #name: string

  /** @throws XTransformersError (`invalid_argument`) where its size is no number of bytes */
  constructor(blob: Blob, options: ReadOptions) {
    const { size } = blob
    const name = nameOf(blob, 'the Blob')
    if (!Number.isSafeInteger(size) || size < 0)
      throw refuse(`the size of ${name}`, 'a number of bytes', size)
    super(size, options)
    this.#blob = blob
    this.#name = name
  }

  protected async fetch(offset: number, length: number): Promise<Uint8Array> {
    const name = this.#name
    let buffer: unknown
    try {
      buffer = await bufferOf(this.#blob.slice(offset, offset + length))
    } catch (error) {
      throw fileError(`${name} broke off after ${offset} bytes: ${reasonOf(error)}`, error)
    }
    if (tagOf(buffer) !== 'ArrayBuffer')
      throw refuse(`what ${name} gives`, 'an ArrayBuffer', buffer)
    const bytes = new Uint8Array(buffer as ArrayBuffer)
    if (bytes.length < length)
      throw truncated({ name, size: this.size, exact: true }, offset + bytes.length)
    if (bytes.length === length) return bytes
    const message = `${name} gives ${bytes.length} bytes for a slice of ${length}`
    throw new XTransformersError('invalid_argument', message)
  }
}
