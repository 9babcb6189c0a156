/** What every read has in common, fetch, and what the platforms add to it. */
import { has, quietly, tagOf, throwIfAborted } from './checks.js'
import { describe } from './data.js'
import { XTransformersError } from './errors.js'
import type { Input, SyncInput } from './inputs.js'

export { throwIfAborted }

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
  signal?: AbortSignal | undefined
  /** Called with each piece that has arrived, and at least once at the end. What it throws, the call rejects with. */
  on_progress?: ((progress: Progress) => void) | undefined
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
  read(name: string | URL, options: ReadOptions): Promise<Input>
  readSync(name: string | URL): SyncInput
  /** The name of a file beside another one. */
  beside(name: string | URL, file: string): string | URL
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

/** @throws XTransformersError (`out_of_memory`) where memory cannot hold it */
export function allocate(size: number, name: string): Uint8Array {
  try {
    return new Uint8Array(size)
  } catch (error) {
    const message = `out of memory: ${size} bytes of ${name} are more than memory can hold here`
    throw new XTransformersError('out_of_memory', message, [], { cause: error })
  }
}

export const truncated = ({ name, size }: Origin, loaded: number, cause?: unknown) =>
  fileError(`${name} ended after ${loaded} of ${size} bytes: load it again`, cause)

/** The name of a file or a handle, for messages. */
export function nameOf(named: unknown, otherwise: string): string {
  const { name } = named as { name?: unknown }
  return typeof name === 'string' && name ? name : otherwise
}

// begins at a word alone: else a long text without addresses would be looked through from every letter
const withoutPassword = (text: string) => text.replace(/\b([a-z\d]+:\/\/)[^\s/?#]*@/gi, '$1')

/** Longest address in a message. */
const SHOWN = 300

/** An address for messages: without a password, and without the content of a `data:` URL. */
function shown(address: string | URL): string {
  const text = String(address)
  if (text.startsWith('data:')) return 'the data: URL'
  return withoutPassword(text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text)
}

/** The body of a response, which may be one of another library, or a test's own. */
export function bodyOf(response: Response): { stream: unknown; origin: Origin } {
  const { url, ok, body } = response
  const name = typeof url === 'string' && url ? shown(url) : 'the Response'
  if (!ok) {
    // a stream of the web, or of Node
    const { cancel, destroy } = (body ?? {}) as { cancel?: () => unknown; destroy?: () => unknown }
    quietly(() => (cancel ?? destroy)?.call(body))
    throw fileError(`${name} cannot be loaded: ${refusal(response)}`)
  }
  if (response.bodyUsed) throw fileError(`${name} was read already: give a new Response, or response.clone()`)
  return { stream: body ?? wholeOf(response, name), origin: { name, ...sizeOf(response) } }
}

/** What stands for a body that is no stream: there is none, or one can only have all of it. */
async function* wholeOf(response: Response, name: string): AsyncGenerator<Uint8Array> {
  if (response.body === null || !has(response, 'arrayBuffer')) return
  const buffer: unknown = await response.arrayBuffer()
  if (tagOf(buffer) === 'ArrayBuffer') yield new Uint8Array(buffer as ArrayBuffer)
  else throw new TypeError(`arrayBuffer() of ${name} gives ${describe(buffer)}`)
}

function refusal({ type, status, statusText }: Response): string {
  if (String(type).startsWith('opaque'))
    return 'its server does not let this page see the answer; fetch it with mode "cors"'
  return `the server answered with status ${status}${statusText ? ` (${statusText})` : ''}`
}

function sizeOf({ headers, type }: Response): Pick<Origin, 'size' | 'exact'> {
  const header = (name: string): unknown => (has(headers, 'get') ? headers.get(name) : null)
  const length = String(header('content-length') ?? '')
  const encoding = header('content-encoding') ?? 'identity'
  // the length is that of the compressed bytes
  if (encoding !== 'identity' || !/^\d{1,15}$/.test(length)) return { size: null, exact: false }
  // a server of another origin shows its length, but not whether it compresses
  return { size: Number(length), exact: type !== 'cors' }
}

/** What is at an address (http:, https:, blob:, data:, and what else fetch knows). */
export async function fetched(address: string | URL, { signal }: ReadOptions): Promise<Response> {
  try {
    return await fetch(address, signal ? { signal } : {})
  } catch (error) {
    throwIfAborted(signal)
    // the browser tells scripts no more than that
    const hint = (error as Error).cause
      ? ''
      : ' (no such address, no answer, or an answer that this page may not read: CORS)'
    throw fileError(`${shown(address)} cannot be fetched: ${withoutPassword(reasonOf(error))}${hint}`, error)
  }
}
