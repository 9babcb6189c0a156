/**
 * Writing bytes as every platform can: into streams, and into files that a page has a handle of.
 */
import { has, isThenable, refuse } from '../checks.js'
import type { XTransformersError } from '../errors.js'
import { fileError, nameOf, reasonOf } from './file-errors.js'
import type { FileHandle, Sink } from './platform.js'

/** Small enough to keep memory low in streams that compress or send. */
const CHUNK = 4 * 1024 * 1024

/** Writes into a stream and closes it; aborts it when that fails. */
export function streamSink(stream: WritableStream, name: string): Sink {
  const writer = writerOf(stream, name)
  let closed = false
  const { closed: closing } = writer as { closed: unknown }
  if (isThenable(closing)) {
    closing.then(
      () => {
        closed = true
      },
      () => {},
    )
  }
  const abort = async (reason: unknown) => {
    try {
      await writer.abort(reason)
    } catch {
      // it had failed before
    }
  }
  const write = async (bytes: Uint8Array) => {
    try {
      // copies: a stream may give the memory of its pieces away
      for (let at = 0; at < bytes.length; at += CHUNK)
        await writer.write(bytes.slice(at, at + CHUNK))
      await writer.close()
    } catch (error) {
      if (closed) throw fileError(`${name} is closed: give a new one`, error)
      await abort(error)
      throw await writeError(error, name, bytes.length)
    }
  }
  return { write, abort }
}

function writerOf(stream: WritableStream, name: string): WritableStreamDefaultWriter {
  let writer: WritableStreamDefaultWriter
  try {
    writer = stream.getWriter()
  } catch (error) {
    if (stream.locked)
      throw fileError(`${name} is written by someone else already: give a new one`, error)
    throw fileError(`${name} cannot be written: ${reasonOf(error)}`, error)
  }
  if (['write', 'close', 'abort'].every((method) => has(writer, method))) return writer
  throw refuse(
    `what getWriter() of ${name} gives`,
    'a writer with write(), close() and abort()',
    writer,
  )
}

/** Writes into a file that a page has a handle of. */
export async function handleSink(
  handle: FileHandle,
  name = nameOf(handle, 'the file'),
): Promise<Sink> {
  if (typeof handle.createWritable !== 'function') {
    throw fileError(
      'this browser cannot write into files (FileSystemFileHandle.createWritable): use saveBlob()',
    )
  }
  let stream: unknown
  try {
    stream = await handle.createWritable()
  } catch (error) {
    throw fileError(`${name} cannot be written: ${reasonOf(error)}`, error)
  }
  if (has(stream, 'getWriter')) return streamSink(stream as WritableStream, name)
  throw refuse(`what createWritable() of ${name} gives`, 'a WritableStream', stream)
}

async function writeError(error: unknown, name: string, size: number): Promise<XTransformersError> {
  // Chromium may notice that the other end stopped reading before it hears why
  const full =
    (error as Error | null)?.name === 'QuotaExceededError' || /data pipe/.test(reasonOf(error))
  if (!full) return fileError(`${name} cannot be written: ${reasonOf(error)}`, error)
  return fileError(
    `there is no room for ${name}: it needs ${size} bytes${await storageLeft(size)}`,
    error,
  )
}

/** How much a page may still store, as far as the browser tells. */
async function storageLeft(size: number): Promise<string> {
  try {
    const { quota = 0, usage = 0 } = await navigator.storage.estimate()
    const free = Math.max(0, quota - usage)
    if (free < size) return `, and ${free} are free (${usage} of ${quota} are in use)`
    // some browsers hide the true number
    return `; the browser tells of ${free} free bytes, but the disk or its own limit is reached`
  } catch {
    return ''
  }
}
