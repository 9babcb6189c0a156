/**
 * The promises of the engine, as async functions give them. A page may replace the global Promise,
 * before this module is there or later, also by one that has only what ES2015 knows.
 */
export const Promises = (async () => {})().constructor as PromiseConstructor

/** The same promise, but that `end` runs before others hear of it; for any that has a `then`. */
export async function whenEnded<T>(promise: PromiseLike<T>, end: () => void): Promise<T> {
  try {
    return await promise
  } finally {
    end()
  }
}
