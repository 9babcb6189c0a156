/** What gives bytes piece by piece, of whatever kind, library and realm, as one kind of reader. */
import { has, ignoreFailure, refuse } from '../checks.js'
import { fileError, reasonOf } from './file-errors.js'

/** As far as it is used here, what `getReader()` of a stream gives. */
export interface Reader {
  /** Of a reader that keeps to the rules `{ done, value }`, or a promise of it. */
  read(): unknown
  /** Lets go of the source; a read that is pending ends. */
  cancel(reason: unknown): void
}

/** What a stream of Node needs, where a stream of the web is wanted. */
const REMEDY = 'of a stream of Node, give Readable.toWeb(stream)'

/**
 * The reader of a ReadableStream, or of what can be walked over by `for await`, such as a stream of
 * Node.
 *
 * @throws XTransformersError (`file`) where it cannot be read, (`invalid_argument`) where it is
 *   none
 */
export function readerOf(source: unknown, name: string): Reader {
  if (has(source, 'getReader')) return ofStream(source as ReadableStream, name)
  if (has(source, Symbol.asyncIterator)) return ofIterable(source as AsyncIterable<unknown>, name)
  throw refuse(name, `a ReadableStream or an async iterable of bytes (${REMEDY})`, source)
}

function ofStream(stream: ReadableStream, name: string): Reader {
  let reader: ReadableStreamDefaultReader
  try {
    reader = stream.getReader()
  } catch (error) {
    if (stream.locked)
      throw fileError(`${name} is read by someone else already: give a new one`, error)
    throw fileError(`${name} cannot be read: ${reasonOf(error)}`, error)
  }
  if (has(reader, 'read') && has(reader, 'cancel')) {
    return {
      read: () => reader.read(),
      cancel: (reason) => ignoreFailure(() => reader.cancel(reason)),
    }
  }
  throw refuse(
    `what getReader() of ${name} gives`,
    `a reader with read() and cancel() (${REMEDY})`,
    reader,
  )
}

function ofIterable(iterable: AsyncIterable<unknown>, name: string): Reader {
  let iterator: AsyncIterator<unknown>
  try {
    iterator = iterable[Symbol.asyncIterator]()
  } catch (error) {
    throw fileError(`${name} cannot be read: ${reasonOf(error)}`, error)
  }
  if (!has(iterator, 'next'))
    throw refuse(`the iterator of ${name}`, 'an object with next()', iterator)
  let left = false
  let leave = () => {}
  return {
    read: () =>
      new Promise((resolve, reject) => {
        leave = () => resolve({ done: true })
        const next = async () => await iterator.next()
        next().then(resolve, reject)
      }),
    cancel: () => {
      if (left) return
      left = true
      leave()
      // a generator ends only behind a pending read, which this ends in a stream of Node
      ignoreFailure(() => (iterable as { destroy?(): unknown }).destroy?.())
      ignoreFailure(() => iterator.return?.())
    },
  }
}
