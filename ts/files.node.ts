import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { XTransformersError } from './errors.js'
import { allocate, type Files, fetchBytes, fileError, type ReadOptions, throwIfAborted, truncated } from './streams.js'

/** An error of the file system. */
function io(error: unknown, name?: string | URL): XTransformersError {
  const { message, code } = error as NodeJS.ErrnoException
  const address = typeof name === 'string' && /^(https?|file|data|blob):/i.test(name)
  const hint = address && code === 'ENOENT' ? ' (in Node a string is a path; load an address as new URL(...))' : ''
  return fileError(message + hint, error)
}

/** Translates the errors of a call into the file system. */
const checked = <T>(pending: Promise<T>, name: string | URL): Promise<T> =>
  pending.catch((error) => {
    throw io(error, name)
  })

const isFileURL = (name: string | URL) => typeof name === 'string' || name.protocol === 'file:'

function refuseOpfs(name: string | URL): void {
  if (!String(name).startsWith('opfs:')) return
  throw fileError(`${name} names a file of a browser (its origin private file system): Node needs a path`)
}

function pathOf(name: string | URL): string {
  if (typeof name === 'string') return name
  try {
    return fileURLToPath(name)
  } catch (error) {
    throw io(error)
  }
}

const CHUNK = 4 * 1024 * 1024

async function readPath(path: string, options: ReadOptions): Promise<Uint8Array> {
  throwIfAborted(options.signal)
  const handle = await checked(open(path), path)
  try {
    const stat = await checked(handle.stat(), path)
    // pipes and devices do not tell their size
    return stat.isFile() && stat.size > 0
      ? await readFrom(handle, path, stat.size, options)
      : await readUnsized(handle, path, options)
  } finally {
    await handle.close()
  }
}

async function readFrom(handle: FileHandle, name: string, size: number, { signal, on_progress }: ReadOptions) {
  const bytes = allocate(size, name)
  for (let loaded = 0; loaded < size; ) {
    const { bytesRead } = await checked(handle.read(bytes, loaded, Math.min(CHUNK, size - loaded)), name)
    throwIfAborted(signal)
    if (bytesRead === 0) throw truncated({ name, size, exact: true }, loaded)
    loaded += bytesRead
    on_progress?.({ loaded, total: size })
  }
  return bytes
}

async function readUnsized(handle: FileHandle, name: string, { signal, on_progress }: ReadOptions) {
  const bytes = await readFile(handle, { signal }).catch((error) => {
    throwIfAborted(signal)
    throw io(error, name)
  })
  on_progress?.({ loaded: bytes.length, total: bytes.length })
  return bytes
}

let written = 0
const temporary = (path: string) => `${path}.${process.pid}.${written++}.tmp`

async function write(path: string, bytes: Uint8Array): Promise<void> {
  const beside = temporary(path)
  try {
    await writeFile(beside, bytes)
    await rename(beside, path)
  } catch (error) {
    await rm(beside, { force: true }).catch(() => {})
    throw io(error)
  }
}

/** Node's file system. Writing is atomic: a temporary file, then a rename. */
export const files: Files = {
  async read(name, options) {
    refuseOpfs(name)
    return isFileURL(name) ? await readPath(pathOf(name), options) : await fetchBytes(name, options)
  },
  readSync(name) {
    refuseOpfs(name)
    if (!isFileURL(name)) throw fileError(`${name} cannot be fetched at once: await load() or loadTensors()`)
    try {
      return readFileSync(pathOf(name))
    } catch (error) {
      throw io(error, name)
    }
  },
  open(path) {
    refuseOpfs(path)
    return { write: (bytes) => write(path, bytes), abort: async () => {} }
  },
  writeSync(path, produce) {
    refuseOpfs(path)
    const bytes = produce()
    const beside = temporary(path)
    try {
      writeFileSync(beside, bytes)
      renameSync(beside, path)
    } catch (error) {
      rmSync(beside, { force: true })
      throw io(error)
    }
  },
}
