/** Errors of reading and writing, and what their messages say of a source. */
import { XTransformersError } from '../errors.js'

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
  const { message, name, cause } = (error ?? {}) as {
    message?: string
    name?: string
    cause?: unknown
  }
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
export function nameOf(named: unknown, fallback: string): string {
  const { name } = named as { name?: unknown }
  return typeof name === 'string' && name ? name : fallback
}

/** Whether a file is not there, and nothing else has gone wrong. */
export function isMissing(error: unknown): boolean {
  if (!(error instanceof XTransformersError) || error.code !== 'file') return false
  const { code, name } = (error.cause ?? {}) as { code?: unknown; name?: unknown }
  return code === 'ENOENT' || name === 'NotFoundError' || / with status 404\b/.test(error.message)
}

const isA = (error: unknown, code: string, words: RegExp) =>
  error instanceof XTransformersError && error.code === code && words.test(error.message)

/** Whether a server does not let a file be read, or does not want to tell that there is none. */
export const isForbidden = (error: unknown) => isA(error, 'file', / with status 403\b/)

/** Whether a page of HTML was in place of a file. */
export const isPage = (error: unknown) => isA(error, 'invalid_checkpoint', /; it looks like HTML/)
