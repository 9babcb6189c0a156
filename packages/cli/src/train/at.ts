import { UsageError } from '../errors.js'

/** An error of the library, with the part of the configuration that it is about. */
export function at<T>(path: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if ((error as Error).name !== 'XTransformersError') throw error
    throw new UsageError(`${path}: ${(error as Error).message}`)
  }
}
