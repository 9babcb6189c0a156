/** What every read has in common, fetch, and what the platforms add to it. */

import { describeValue, has, ignoreFailure, tagOf } from '../checks.js'
import { type ReadOptions, throwIfAborted } from '../control.js'
import { fileError, type Origin, reasonOf } from './file-errors.js'

export { throwIfAborted }

// begins at a word alone: else a long text without addresses would be looked through from every
// letter
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
    ignoreFailure(() => (cancel ?? destroy)?.call(body))
    throw fileError(`${name} cannot be loaded: ${refusal(response)}`)
  }
  if (response.bodyUsed)
    throw fileError(`${name} was read already: give a new Response, or response.clone()`)
  return { stream: body ?? wholeOf(response, name), origin: { name, ...sizeOf(response) } }
}

/** What stands for a body that is no stream: there is none, or one can only have all of it. */
async function* wholeOf(response: Response, name: string): AsyncGenerator<Uint8Array> {
  if (response.body === null || !has(response, 'arrayBuffer')) return
  const buffer: unknown = await response.arrayBuffer()
  if (tagOf(buffer) === 'ArrayBuffer') yield new Uint8Array(buffer as ArrayBuffer)
  else throw new TypeError(`arrayBuffer() of ${name} gives ${describeValue(buffer)}`)
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
    throw fileError(
      `${shown(address)} cannot be fetched: ${withoutPassword(reasonOf(error))}${hint}`,
      error,
    )
  }
}
