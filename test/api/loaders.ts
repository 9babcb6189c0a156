/** Loaders of numbers, for tests; they work on every platform. */
import { DataLoader, type DataLoaderOptions, type Stream } from 'x-transformers/data'

export const range = (length: number) => Array.from({ length }, (_, i) => i)

export const later = (ms = 1) => new Promise<void>((resolve) => setTimeout(resolve, ms))

type Options = Omit<DataLoaderOptions<number, number[]>, 'collate_fn'>
type Source = ConstructorParameters<typeof DataLoader<number, number[]>>[0]

/** A loader whose batches are lists of two examples, where nothing else is said. */
export const loaderOf = (source: Source, options: Options = {}) =>
  new DataLoader(source, { batch_size: 2, ...options, collate_fn: (examples) => examples })

/** The batches of one loop, which is left after `most`. */
export async function batchesOf<T>(
  loader: AsyncIterable<T>,
  most = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const batches: T[] = []
  if (most === 0) return batches
  for await (const batch of loader) if (batches.push(batch) >= most) break
  return batches
}

/** Examples that come after different times. */
export const slow = (length: number) => ({
  length,
  async get(i: number) {
    await later((i * 7) % 4)
    return i
  },
})

/** A stream that may come in pieces of time. */
export const streamOf = (length: number): Stream<number> =>
  async function* examples() {
    for (let i = 0; i < length; i++) {
      if (i % 3 === 0) await later(0)
      yield i
    }
  }
