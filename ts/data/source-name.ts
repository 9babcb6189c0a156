import { isBlob, isURL } from '../checks.js'
import { nameOf } from '../io/file-errors.js'

/** A source in words: of an address without a password. */
export function sourceName(source: unknown): string {
  if (typeof source !== 'string' && !isURL(source))
    return nameOf(source ?? {}, isBlob(source) ? 'the Blob' : 'the source')
  const name = String(source)
  if (/^data:/i.test(name)) return 'the data: URL'
  return name.replace(/^([a-z\d]+:\/\/)[^/?#]*@/i, '$1')
}
