/** Reading bytes as every platform can: fetch, streams and Blobs; and what the platforms add to it. */
import { describe } from './data.js'
import { XTransformersError } from './errors.js'

/** How far a read has come, in bytes. */
export interface Progress {
  /** Never more than `total`. */
  loaded: number
  /** Null where the source does not tell its size. In the last call it is equal to `loaded`. */
  total: number | null
}

/** Options of everything that reads bytes. */
export interface ReadOptions {
  /** Ends the reading: the call rejects with `signal.reason`. */
  signal?: AbortSignal
  /** Called with each piece that has arrived, and at least once at the end. What it throws, the call rejects with. */
  on_progress?: (progress: Progress) => void
}

/** A file that a page has a handle of: a `FileSystemFileHandle`, as far as it is used here. */
export interface FileHandle {
  readonly name: string
  getFile(): Promise<Blob>
  /** A stream whose content replaces that of the file when it is closed. */
  createWritable(): Promise<WritableStream>
}

/** Where bytes go, all at once: what was there stays until the new content is whole, as far as the platform can do that. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>
  /** Nothing will be written after all. */
  abort(reason: unknown): Promise<void>
}

/** What a platform finds by a name. Every error has the code `file`, or `invalid_argument` for names that cannot be. */
export interface Files {
  read(name: string | URL, options: ReadOptions): Promise<Uint8Array>
  readSync(name: string | URL): Uint8Array
  /** Checks the name, and touches nothing yet. */
  open(name: string): Sink
  writeSync(path: string, produce: () => Uint8Array): void
}

/** What is known of a source before it is read. */
export interface Origin {
  /** For messages. */
  name: string
  /** In bytes. */
  size: number | null
  /** Whether fewer bytes than `size` mean that something is missing. */
  exact: boolean
}

/** An error with code `file`. */
export const fileError = (message: string, cause?: unknown) =>
  new XTransformersError('file', message, [], cause === undefined ? undefined : { cause })

/** What an error of the platform says. Node's fetch hides the reason in the cause. */
export function reasonOf(error: unknown): string {
  const { message, name, cause } = (error ?? {}) as { message?: string; name?: string; cause?: unknown }
  const { message: inner, code } = (cause ?? {}) as { message?: string; code?: string }
  return inner || code || message || name || String(error)
}

/** Rejects as an aborted call does. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason
}

/** @throws XTransformersError (`file`) where memory cannot hold it */
export function allocate(size: number, name: string): Uint8Array {
  try {
    return new Uint8Array(size)
  } catch (error) {
    throw fileError(`${name} has ${size} bytes, more than memory can hold here`, error)
  }
}

export const truncated = ({ name, size }: Origin, loaded: number, cause?: unknown) =>
  fileError(`${name} ended after ${loaded} of ${size} bytes: load it again`, cause)

/** The pieces of one read: in one buffer where the size is known. */
class Collector {
  #loaded = 0
  #told: Progress | null = null
  #chunks: Uint8Array[] = []
  #whole: Uint8Array | null
  readonly #origin: Origin
  readonly #on_progress: ReadOptions['on_progress']

  constructor(origin: Origin, on_progress: ReadOptions['on_progress']) {
    this.#origin = origin
    this.#on_progress = on_progress
    this.#whole = origin.size === null ? null : allocate(origin.size, origin.name)
  }

  get loaded(): number {
    return this.#loaded
  }

  add(chunk: Uint8Array): void {
    const end = this.#loaded + chunk.length
    if (this.#whole && end > this.#whole.length) {
      // the size was that of the compressed bytes: from here on it is unknown
      this.#chunks = [this.#whole.subarray(0, this.#loaded)]
      this.#whole = null
    }
    if (this.#whole) this.#whole.set(chunk, this.#loaded)
    else this.#chunks.push(chunk)
    this.#loaded = end
    this.#tell(this.#whole?.length ?? null)
  }

  end(): Uint8Array {
    if (this.#whole && this.#origin.exact && this.#loaded < this.#whole.length) {
      throw truncated(this.#origin, this.#loaded)
    }
    const bytes = this.#whole?.subarray(0, this.#loaded) ?? this.#joined()
    if (this.#told?.total !== this.#loaded) this.#tell(this.#loaded)
    return bytes
  }

  #joined(): Uint8Array {
    const whole = allocate(this.#loaded, this.#origin.name)
    let at = 0
    for (const chunk of this.#chunks) {
      whole.set(chunk, at)
      at += chunk.length
    }
    return whole
  }

  #tell(total: number | null): void {
    this.#told = { loaded: this.#loaded, total }
    this.#on_progress?.(this.#told)
  }
}

function readerOf(stream: ReadableStream<Uint8Array>, name: string): ReadableStreamDefaultReader<Uint8Array> {
  try {
    return stream.getReader()
  } catch (error) {
    throw fileError(`${name} is read by someone else already: give a new one`, error)
  }
}

/** All bytes of a stream, which is cancelled when the reading fails. */
export async function readStream(
  stream: ReadableStream<Uint8Array>,
  origin: Origin,
  { signal, on_progress }: ReadOptions,
): Promise<Uint8Array> {
  const reader = readerOf(stream, origin.name)
  const cancel = (reason: unknown) => void reader.cancel(reason).catch(() => {})
  // a pending read then ends at once
  const onAbort = () => cancel(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    if (signal?.aborted) onAbort()
    const collector = new Collector(origin, on_progress)
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw fileError(`${origin.name} broke off after ${collector.loaded} bytes: ${reasonOf(error)}`, error)
      })
      throwIfAborted(signal)
      if (done) return collector.end()
      collector.add(checkChunk(value, origin.name))
    }
  } catch (error) {
    cancel(error)
    throw signal?.aborted ? signal.reason : error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Whether it is a Uint8Array, of another realm too. */
export const isBytes = (value: unknown): value is Uint8Array =>
  Object.prototype.toString.call(value) === '[object Uint8Array]'

function checkChunk(chunk: unknown, name: string): Uint8Array {
  if (isBytes(chunk)) return chunk
  throw new XTransformersError(
    'invalid_argument',
    `${name} must give pieces of type Uint8Array, got ${describe(chunk)}`,
  )
}

/** The bytes of a Blob or File. */
export function readBlob(blob: Blob, options: ReadOptions): Promise<Uint8Array> {
  const { name } = blob as { name?: unknown }
  const origin = { name: typeof name === 'string' && name ? name : 'the Blob', size: blob.size, exact: true }
  return readStream(blob.stream(), origin, options)
}

const withoutPassword = (text: string) => text.replace(/([a-z]+:\/\/)[^\s/?#]*@/gi, '$1')

/** An address for messages: without a password, and without the content of a `data:` URL. */
function shown(address: string | URL): string {
  const text = String(address)
  return text.startsWith('data:') ? 'the data: URL' : withoutPassword(text)
}

/** The body of a response. */
export async function readResponse(response: Response, options: ReadOptions): Promise<Uint8Array> {
  const name = response.url ? shown(response.url) : 'the Response'
  if (!response.ok) {
    response.body?.cancel().catch(() => {})
    throw fileError(`${name} cannot be loaded: ${refusal(response)}`)
  }
  if (response.bodyUsed) throw fileError(`${name} was read already: give a new Response, or response.clone()`)
  const origin = { name, ...sizeOf(response) }
  return await readStream(response.body ?? new Blob([]).stream(), origin, options)
}

function refusal({ type, status, statusText }: Response): string {
  if (type.startsWith('opaque')) return 'its server does not let this page see the answer; fetch it with mode "cors"'
  return `the server answered with status ${status}${statusText && ` (${statusText})`}`
}

function sizeOf({ headers, type }: Response): Pick<Origin, 'size' | 'exact'> {
  const length = headers.get('content-length') ?? ''
  const encoding = headers.get('content-encoding') ?? 'identity'
  // the length is that of the compressed bytes
  if (encoding !== 'identity' || !/^\d{1,15}$/.test(length)) return { size: null, exact: false }
  // a server of another origin shows its length, but not whether it compresses
  return { size: Number(length), exact: type !== 'cors' }
}

/** What is at an address (http:, https:, blob:, data:, and what else fetch knows). */
export async function fetchBytes(address: string | URL, options: ReadOptions): Promise<Uint8Array> {
  const { signal } = options
  let response: Response
  try {
    response = await fetch(address, signal ? { signal } : {})
  } catch (error) {
    throwIfAborted(signal)
    // the browser tells scripts no more than that
    const hint = (error as Error).cause
      ? ''
      : ' (no such address, no answer, or an answer that this page may not read: CORS)'
    throw fileError(`${shown(address)} cannot be fetched: ${withoutPassword(reasonOf(error))}${hint}`, error)
  }
  return await readResponse(response, options)
}
