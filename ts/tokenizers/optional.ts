/** Reading of files that may not be there. */
import { has, ignoreFailure, isURL } from '../checks.js'
import type { ReadOptions } from '../control.js'
import { fetched } from '../io/fetch.js'
import { isForbidden, isMissing, isPage } from '../io/file-errors.js'
import type { Source } from '../io/sources.js'
import { readBytes } from './read.js'

/** What a server has at an address, so that its answer can be looked at; else the source itself. */
async function answered(source: Source, options: ReadOptions): Promise<Source> {
  if (!isURL(source) || !/^(https?|blob|data):$/.test(source.protocol)) return source
  return await fetched(source, options)
}

/** Whether it is an answer that is a page: servers of pages give one for what they do not have. */
function isPageAnswer(source: Source): boolean {
  const { headers, ok, body } = source as Partial<Response>
  if (ok !== true || !has(headers, 'get')) return false
  if (!/^text\/html\b/i.test(headers?.get('content-type') ?? '')) return false
  ignoreFailure(() => body?.cancel())
  return true
}

/**
 * The result of `read` for a file; null where there is no such file, or where a server has answered
 * with a page in its place.
 */
export async function readIfThere<T>(
  file: Source,
  options: ReadOptions,
  read: (source: Source) => Promise<T>,
): Promise<T | null> {
  try {
    const source = await answered(file, options)
    return isPageAnswer(source) ? null : await read(source)
  } catch (error) {
    if (isMissing(error) || isPage(error)) return null
    throw error
  }
}

/** The bytes of a file; null as for {@link readIfThere}. */
export async function readBytesIfThere(
  file: Source,
  options: ReadOptions,
): Promise<Uint8Array | null> {
  const bytes = await readIfThere(file, options, (source) => readBytes(source, options))
  if (bytes === null) return null
  const start = new TextDecoder().decode(bytes.subarray(0, 100))
  return /^\s*<(!doctype|html)\b/i.test(start) ? null : bytes
}

/** As {@link readBytesIfThere}, of what one can do without: also null where it is forbidden. */
export async function readOptionalBytes(
  file: Source,
  options: ReadOptions,
): Promise<Uint8Array | null> {
  try {
    return await readBytesIfThere(file, options)
  } catch (error) {
    // so do stores answer that do not tell what they have
    if (isForbidden(error)) return null
    throw error
  }
}
