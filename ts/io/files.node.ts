import {
  closeSync,
  fstatSync,
  openSync,
  // Node loads it with its first use, node:fs/promises at once
  promises,
  readFileSync,
  readSync,
} from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ReadOptions, throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { bodyOf, fetched } from './fetch.js'
import { allocate, fileError, truncated } from './file-errors.js'
import { type Input, inMemory, MemoryInput, Meter, PlacedInput, type SyncInput } from './inputs.js'
import { openAppender } from './node/append.js'
import { runAsync, runSync } from './node/fs-tasks.js'
import { absolute } from './node/paths.js'
import { save, saveError } from './node/save.js'
import { enqueueSave, isPending } from './node/save-queue.js'
import type { Files, Sink } from './platform.js'
import { StreamInput } from './stream-input.js'

/** An error of the file system. */
function io(error: unknown, name?: string | URL): XTransformersError {
  const { message, code } = error as NodeJS.ErrnoException
  const address = typeof name === 'string' && /^(https?|file|data|blob):/i.test(name)
  const hint =
    address && code === 'ENOENT'
      ? ' (in Node a string is a path; load an address as new URL(...))'
      : ''
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
  throw fileError(
    `${name} names a file of a browser (its origin private file system): Node needs a path`,
  )
}

function pathOf(name: string | URL): string {
  if (typeof name === 'string') return name
  try {
    return fileURLToPath(name)
  } catch (error) {
    throw io(error)
  }
}

/** A buffer of at least that size: the old one, where it is large enough. */
const bufferFor = (length: number, old: Uint8Array | null, name: string) =>
  old && old.length >= length ? old : allocate(length, name)

/** A file, which is closed when the reading ends. */
class FileInput extends PlacedInput {
  readonly #handle: FileHandle
  readonly #name: string
  /**
   * For one read after the other: a fresh buffer for each would fill the memory until the garbage
   * collector comes.
   */
  #buffer: Uint8Array | null = null

  constructor(handle: FileHandle, name: string, size: number, options: ReadOptions) {
    super(size, options)
    this.#handle = handle
    this.#name = name
  }

  protected async fetch(offset: number, length: number): Promise<Uint8Array> {
    this.#buffer = bufferFor(length, this.#buffer, this.#name)
    const bytes = this.#buffer.subarray(0, length)
    for (let at = 0; at < length; ) {
      const { bytesRead } = await checked(
        this.#handle.read(bytes, at, length - at, offset + at),
        this.#name,
      )
      if (bytesRead === 0)
        throw truncated({ name: this.#name, size: this.size, exact: true }, offset + at)
      at += bytesRead
    }
    return bytes
  }

  override async close(): Promise<void> {
    await this.#handle.close()
  }
}

async function openPath(path: string, options: ReadOptions): Promise<Input> {
  throwIfAborted(options.signal)
  const handle = await checked(promises.open(path), path)
  try {
    const stat = await checked(handle.stat(), path)
    if (stat.isFile() && stat.size > 0) return new FileInput(handle, path, stat.size, options)
    // pipes and devices do not tell their size
    const bytes = await readUnsized(handle, path, options)
    await handle.close()
    return new MemoryInput(bytes)
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function readUnsized(handle: FileHandle, name: string, { signal, on_progress }: ReadOptions) {
  const bytes = await promises.readFile(handle, { signal }).catch((error) => {
    throwIfAborted(signal)
    throw io(error, name)
  })
  new Meter(bytes.length, on_progress).end(bytes.length)
  return bytes
}

/** A file that is read at once. */
class SyncFile implements SyncInput {
  #buffer: Uint8Array | null = null

  constructor(
    readonly descriptor: number,
    readonly name: string,
    readonly size: number,
  ) {}

  read(offset: number, length: number): Uint8Array {
    this.#buffer = bufferFor(length, this.#buffer, this.name)
    const bytes = this.#buffer.subarray(0, length)
    for (let at = 0; at < length; ) {
      const read = this.#read(bytes, at, offset)
      if (read === 0)
        throw truncated({ name: this.name, size: this.size, exact: true }, offset + at)
      at += read
    }
    return bytes
  }

  #read(bytes: Uint8Array, at: number, offset: number): number {
    try {
      return readSync(this.descriptor, bytes, at, bytes.length - at, offset + at)
    } catch (error) {
      throw io(error, this.name)
    }
  }

  close(): void {
    closeSync(this.descriptor)
  }
}

function openPathSync(path: string): SyncInput {
  const descriptor = openSync(path, 'r')
  let file: SyncFile | null = null
  try {
    const stat = fstatSync(descriptor)
    if (stat.isFile() && stat.size > 0) file = new SyncFile(descriptor, path, stat.size)
    return file ?? inMemory(readFileSync(descriptor))
  } finally {
    // a file is closed by whoever reads it
    if (!file) closeSync(descriptor)
  }
}

/** @throws XTransformersError (`invalid_argument`) where a name to save under is empty */
function refuseEmpty(path: string): void {
  if (path !== '') return
  throw new XTransformersError(
    'invalid_argument',
    'the path to save to is empty: give the name of a file',
  )
}

/** @throws XTransformersError (`file`) where the process has no folder any more */
function located(path: string): string {
  try {
    return absolute(path)
  } catch (error) {
    throw saveError(path, error)
  }
}

/** Saves to `path` once its turn has come and the bytes are there. */
function openTarget(path: string): Sink {
  const absolutePath = located(path)
  const queued = enqueueSave(absolutePath)
  const write = async (bytes: Uint8Array) => {
    try {
      await queued.ready
      await runAsync(save(absolutePath, bytes))
    } catch (error) {
      throw saveError(path, error)
    } finally {
      queued.end()
    }
  }
  return { write, abort: async () => queued.end() }
}

function writeNow(path: string, produce: () => Uint8Array): void {
  const absolutePath = located(path)
  if (isPending(absolutePath)) {
    throw new XTransformersError(
      'busy',
      `${path} is being saved by an asynchronous call: await that call first`,
    )
  }
  const bytes = produce()
  try {
    runSync(save(absolutePath, bytes))
  } catch (error) {
    throw saveError(path, error)
  }
}

/** Node's file system. */
export const files: Files = {
  async read(name, options) {
    refuseOpfs(name)
    if (isFileURL(name)) return await openPath(pathOf(name), options)
    const { stream, origin } = bodyOf(await fetched(name, options))
    return new StreamInput(stream, origin, options)
  },
  readSync(name) {
    refuseOpfs(name)
    if (!isFileURL(name))
      throw fileError(`${name} cannot be fetched at once: await load() or loadTensors()`)
    try {
      return openPathSync(pathOf(name))
    } catch (error) {
      throw io(error, name)
    }
  },
  sibling(name, file) {
    return typeof name === 'string'
      ? join(dirname(name), file)
      : new URL(encodeURIComponent(file), name)
  },
  async isFolder(name) {
    if (!isFileURL(name)) return /^[^?#]*\/$/.test(String(name))
    try {
      return (await promises.stat(pathOf(name))).isDirectory()
    } catch {
      // reading it tells why
      return false
    }
  },
  open(path) {
    refuseOpfs(path)
    refuseEmpty(path)
    return openTarget(path)
  },
  writeSync(path, produce) {
    refuseOpfs(path)
    refuseEmpty(path)
    writeNow(path, produce)
  },
  async append(path) {
    refuseOpfs(path)
    refuseEmpty(path)
    return await openAppender(path)
  },
  async makeFolder(folder) {
    refuseOpfs(folder)
    refuseEmpty(folder)
    await checked(promises.mkdir(folder, { recursive: true }), folder)
  },
  async list(folder) {
    refuseOpfs(folder)
    try {
      return await promises.readdir(folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw io(error, folder)
    }
  },
  async remove(folder) {
    refuseOpfs(folder)
    refuseEmpty(folder)
    await checked(promises.rm(folder, { recursive: true, force: true }), folder)
  },
}
