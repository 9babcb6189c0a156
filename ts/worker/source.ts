import { describeValue, has, isBlob, isURL, tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { FileHandle } from '../io/platform.js'
import { isShared, presentBytes } from '../tensor/data.js'
import type { Packed } from './transfer.js'

/**
 * Something to load in a worker. Bytes are copied, unless they are to be given away (`transfer`);
 * Blobs and handles of files refer to the same content; a stream is given away. Of a Response:
 * `await response.blob()`.
 */
export type WorkerSource =
  | string
  | URL
  | Blob
  | ReadableStream<Uint8Array>
  | FileHandle
  | Uint8Array
  | ArrayBuffer

/**
 * An address as the page sees it: the worker's script has another one. Names of files in Node, and
 * of others than http, stay as they are.
 */
export function absoluteAddress(address: string | URL): string {
  const { document, location } = globalThis as {
    document?: { baseURI: string }
    location?: { href: string }
  }
  const base = document?.baseURI ?? location?.href
  if (isURL(address) || base === undefined || /^[a-z][a-z0-9+.-]*:/i.test(address))
    return String(address)
  try {
    return new URL(address, base).href
  } catch {
    return address
  }
}

/** A source, ready to be posted. */
export function packSource(source: WorkerSource, give: boolean): Packed<unknown> {
  if (typeof source === 'string') return { value: absoluteAddress(source), transfer: [] }
  if (isURL(source)) return { value: { $url: source.href }, transfer: [] }
  const kind = tagOf(source)
  if (kind === 'Uint8Array') return packBytes(source as Uint8Array, give)
  if (kind === 'ArrayBuffer') return packBytes(new Uint8Array(source as ArrayBuffer), give)
  if (has(source, 'getReader')) return { value: source, transfer: [source as object] }
  if (has(source, 'getFile') || isBlob(source)) return { value: source, transfer: [] }
  const iterable = has(source, Symbol.asyncIterator)
  const remedy = iterable ? ': give a ReadableStream, such as Readable.toWeb(stream)' : ''
  const hint = kind === 'Response' ? ': give its blob(), or its URL' : remedy
  throw new XTransformersError(
    'invalid_argument',
    `${describeValue(source)} cannot be loaded in a worker${hint}`,
  )
}

/** One source, or several, ready to be posted. */
export function packSources(
  source: WorkerSource | readonly WorkerSource[],
  give: boolean,
): Packed<unknown> {
  if (!Array.isArray(source)) return packSource(source as WorkerSource, give)
  const packed = (source as readonly WorkerSource[]).map((one) => packSource(one, give))
  return {
    value: packed.map(({ value }) => value),
    transfer: packed.flatMap(({ transfer }) => transfer),
  }
}

/** The memory is given away as a whole, so that only all of it can be. */
function packBytes(given: Uint8Array, give: boolean): Packed<Uint8Array> {
  const bytes = presentBytes(given)
  const whole = !isShared(bytes.buffer) && bytes.byteLength === bytes.buffer.byteLength
  const value = give && whole ? bytes : bytes.slice()
  return { value, transfer: [value.buffer] }
}
