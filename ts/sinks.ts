/** Writing bytes as every platform can: into streams, and into files that a page has a handle of. */
import type { XTransformersError } from './errors.js'
import { type FileHandle, fileError, reasonOf, type Sink } from './streams.js'

/** Small enough to keep memory low in streams that compress or send. */
const CHUNK = 4 * 1024 * 1024

/** Writes into a stream and closes it; aborts it when that fails. */
export function streamSink(stream: WritableStream, name: string): Sink {
  let writer: WritableStreamDefaultWriter
  try {
    writer = stream.getWriter()
  } catch (error) {
    throw fileError(`${name} is written by someone else already: give a new one`, error)
  }
  const abort = (reason: unknown) => writer.abort(reason).catch(() => {})
  const write = async (bytes: Uint8Array) => {
    try {
      // copies: a stream may give the memory of its pieces away
      for (let at = 0; at < bytes.length; at += CHUNK) await writer.write(bytes.slice(at, at + CHUNK))
      await writer.close()
    } catch (error) {
      await abort(error)
      throw await writeError(error, name, bytes.length)
    }
  }
  return { write, abort }
}

/** Writes into a file that a page has a handle of. */
export async function handleSink(handle: FileHandle, name = handle.name): Promise<Sink> {
  if (typeof handle.createWritable !== 'function') {
    throw fileError('this browser cannot write into files (FileSystemFileHandle.createWritable): use saveBlob()')
  }
  const stream = await handle.createWritable().catch((error) => {
    throw fileError(`${name} cannot be written: ${reasonOf(error)}`, error)
  })
  return streamSink(stream, name)
}

async function writeError(error: unknown, name: string, size: number): Promise<XTransformersError> {
  // Chromium may notice that the other end stopped reading before it hears why
  const full = (error as Error | null)?.name === 'QuotaExceededError' || /data pipe/.test(reasonOf(error))
  if (!full) return fileError(`${name} cannot be written: ${reasonOf(error)}`, error)
  return fileError(`there is no room for ${name}: it needs ${size} bytes${await room(size)}`, error)
}

/** How much a page may still store, as far as the browser tells. */
async function room(size: number): Promise<string> {
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
