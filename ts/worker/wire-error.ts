import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { WireError } from './protocol.js'

/** An error as plain data: structured cloning would lose its class and its code. */
export function packError(error: unknown): WireError {
  // by its looks: it may be of another realm
  const { name = 'Error', message = describeValue(error) } = (error ?? {}) as {
    name?: unknown
    message?: unknown
  }
  const own = error instanceof XTransformersError
  return {
    name: String(name),
    message: String(message),
    code: own ? error.code : null,
    problems: own ? error.problems : [],
  }
}

/** The error again. */
export function unpackError({ name, message, code, problems }: WireError): Error {
  if (code !== null) return new XTransformersError(code, message, problems)
  return Object.assign(new Error(message), { name })
}
