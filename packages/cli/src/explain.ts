import { EXIT, Failure } from './errors.js'

/** Writes what has gone wrong to standard error, and gives what the process is to end with. */
export function explain(error: unknown): number {
  if (error instanceof Failure) {
    if (error.message) process.stderr.write(`${error.message}\n`)
    return error.exitCode
  }
  const { name, message, stack } = error as Error
  // an error of the library, of which there is no class without loading it, says what to do
  const known = name === 'XTransformersError' && (error as { code?: string }).code !== 'internal'
  process.stderr.write(`${known ? message : (stack ?? String(error))}\n`)
  return EXIT.failure
}
