import { type ReadOptions, throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { bodyOf, fetched } from './fetch.js'
import { fileError, reasonOf } from './file-errors.js'
import { BlobInput, type Input } from './inputs.js'
import { OpfsAppender } from './opfs-append.js'
import type { Files } from './platform.js'
import { handleSink } from './sinks.js'
import { StreamInput } from './stream-input.js'

const OPFS = 'opfs:'

/** Folders and file name of `opfs:folder/name`. */
function partsOf(name: string): string[] {
  const parts = name.slice(OPFS.length).split('/')
  if (parts.every((part) => part !== '' && part !== '.' && part !== '..')) return parts
  throw new XTransformersError(
    'invalid_argument',
    `${JSON.stringify(name)} is no file of the origin private file system: write opfs:folder/name, without empty parts, "." and ".."`,
  )
}

/** The name that a URL object stands for: it has escaped what a URL must not contain. */
function plainName(url: URL): string {
  try {
    return decodeURIComponent(url.href)
  } catch {
    return url.href
  }
}

async function root(): Promise<FileSystemDirectoryHandle> {
  // absent on pages that are neither https nor localhost
  if (typeof navigator.storage?.getDirectory !== 'function') {
    throw fileError(
      'there is no origin private file system here: it needs a current browser and a page from https or localhost',
    )
  }
  return await navigator.storage.getDirectory()
}

/** The folder that lies in these ones. */
async function within(folders: string[], create: boolean): Promise<FileSystemDirectoryHandle> {
  let folder = await root()
  for (const name of folders) folder = await folder.getDirectoryHandle(name, { create })
  return folder
}

const folderOf = (parts: string[], create: boolean) => within(parts.slice(0, -1), create)

function opfsError(error: unknown, name: string, what: string): XTransformersError {
  if (error instanceof XTransformersError) return error
  const { name: kind } = error as Error
  if (kind === 'NotFoundError')
    return fileError(`there is no file ${name} in the origin private file system`, error)
  if (kind === 'TypeMismatchError')
    return fileError(`a folder and a file have the same name in ${name}`, error)
  return fileError(`${name} cannot be ${what}: ${reasonOf(error)}`, error)
}

async function readOpfs(name: string, options: ReadOptions): Promise<Input> {
  const parts = partsOf(name)
  throwIfAborted(options.signal)
  let file: File
  try {
    const folder = await folderOf(parts, false)
    file = await (await folder.getFileHandle(parts.at(-1) as string)).getFile()
  } catch (error) {
    throw opfsError(error, name, 'read')
  }
  return new BlobInput(file, options)
}

async function exists(folder: FileSystemDirectoryHandle, name: string): Promise<boolean> {
  try {
    await folder.getFileHandle(name)
    return true
  } catch (error) {
    if ((error as Error).name === 'NotFoundError') return false
    throw error
  }
}

async function writeOpfs(name: string, parts: string[], bytes: Uint8Array): Promise<void> {
  const last = parts.at(-1) as string
  let undo: () => Promise<unknown> = async () => {}
  try {
    const folder = await folderOf(parts, true)
    const old = await exists(folder, last)
    const handle = await folder.getFileHandle(last, { create: true })
    // a new file is there, empty, before anything is written
    if (!old)
      undo = async () => (await handle.getFile()).size === 0 && (await folder.removeEntry(last))
    const sink = await handleSink(handle, name)
    await sink.write(bytes)
  } catch (error) {
    await undo().catch(() => {})
    throw opfsError(error, name, 'written')
  }
}

const atOnce = (call: string) =>
  fileError(`a page cannot wait for files: await ${call} instead of the Sync call`)

/** The names in a folder; TypeScript's types of the DOM do not have this method. */
const keysOf = (folder: FileSystemDirectoryHandle) =>
  (folder as unknown as { keys(): AsyncIterable<string> }).keys()

/** The parts of the name of a folder, or of a file, to write to. */
function writable(name: string, what: 'folder' | 'file' = 'folder'): string[] {
  if (name.startsWith(OPFS)) return partsOf(name)
  const example = what === 'file' ? 'opfs:folder/name' : 'opfs:folder'
  throw fileError(
    `a page cannot write to the ${what} ${JSON.stringify(name)}: name one in the origin private file system, "${example}"`,
  )
}

/** What a page can reach by name: addresses, and the origin private file system. */
export const files: Files = {
  async read(name, options) {
    if (String(name).startsWith(OPFS)) {
      return await readOpfs(typeof name === 'string' ? name : plainName(name), options)
    }
    if (/^file:/i.test(String(name))) {
      throw fileError(
        'a page cannot read file: addresses: let the user choose a file (<input type="file">), and load that File',
      )
    }
    const { stream, origin } = bodyOf(await fetched(name, options))
    return new StreamInput(stream, origin, options)
  },
  sibling(name, file) {
    const text = typeof name === 'string' ? name : plainName(name)
    if (text.startsWith(OPFS))
      return text.slice(0, Math.max(text.lastIndexOf('/') + 1, OPFS.length)) + file
    const { document, location } = globalThis as {
      document?: { baseURI: string }
      location?: { href: string }
    }
    return new URL(encodeURIComponent(file), new URL(text, document?.baseURI ?? location?.href))
  },
  async isFolder(name) {
    return /^[^?#]*\/$/.test(String(name))
  },
  readSync() {
    throw atOnce('load()')
  },
  open(name) {
    if (!name.startsWith(OPFS)) {
      throw fileError(
        `a page cannot write to ${JSON.stringify(name)}: save to "opfs:folder/name" (the origin private file system) or to a handle from showSaveFilePicker(), or take saveBlob() for a download`,
      )
    }
    const parts = partsOf(name)
    return { write: (bytes) => writeOpfs(name, parts, bytes), abort: async () => {} }
  },
  writeSync() {
    throw atOnce('save()')
  },
  async append(name) {
    const parts = writable(name, 'file')
    try {
      const folder = await folderOf(parts, true)
      const handle = await folder.getFileHandle(parts.at(-1) as string, { create: true })
      return new OpfsAppender(handle, name, (await handle.getFile()).size)
    } catch (error) {
      throw opfsError(error, name, 'written')
    }
  },
  async makeFolder(name) {
    const parts = writable(name)
    await within(parts, true).catch((error) => {
      throw opfsError(error, name, 'made')
    })
  },
  async list(name) {
    const parts = writable(name)
    try {
      const names: string[] = []
      for await (const entry of keysOf(await within(parts, false))) names.push(entry)
      return names
    } catch (error) {
      if ((error as Error).name === 'NotFoundError') return null
      throw opfsError(error, name, 'read')
    }
  },
  async remove(name) {
    const parts = writable(name)
    try {
      const folder = await folderOf(parts, false)
      await folder.removeEntry(parts.at(-1) as string, { recursive: true })
    } catch (error) {
      if ((error as Error).name !== 'NotFoundError') throw opfsError(error, name, 'removed')
    }
  },
}
