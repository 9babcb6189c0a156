/** What can be loaded, and where to save: every kind of it, on every platform. */
import { files as platform } from '#files'
import {
  describeValue,
  has,
  ignoreRejection,
  isBlob,
  isBytes,
  isThenable,
  isURL,
  refuse,
  tagOf,
} from '../checks.js'
import { checkReading, type ReadOptions } from '../control.js'
import { XTransformersError } from '../errors.js'
import { presentBytes } from '../tensor/data.js'
import { bodyOf } from './fetch.js'
import { fileError, nameOf, reasonOf } from './file-errors.js'
import { BlobInput, type Input, inMemory, MemoryInput, Meter, type SyncInput } from './inputs.js'
import type { FileHandle, Sink } from './platform.js'
import { handleSink, streamSink } from './sinks.js'
import { StreamInput } from './stream-input.js'

/**
 * Something to load.
 *
 * - a string: in Node a path; in the browser an address, relative to the page, or
 *   `opfs:folder/name` (the origin private file system)
 * - a URL: `http:`, `https:`, `blob:`, `data:`; in Node `file:` too, in the browser `opfs:` too
 * - a Blob or a File; a Response; a `FileSystemFileHandle`
 * - a stream of bytes, or anything else that `for await` can walk over, such as a stream of Node
 * - the bytes themselves
 */
export type Source =
  | string
  | URL
  | Blob
  | Response
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | FileHandle
  | Uint8Array
  | ArrayBuffer

/** Something to load at once: in Node a path or a `file:` URL; everywhere the bytes. */
export type SyncSource = string | URL | Uint8Array | ArrayBuffer

/**
 * Where to save.
 *
 * - a string: in Node a path; in the browser `opfs:folder/name` (the origin private file system;
 *   folders are made as needed)
 * - a `FileSystemFileHandle`, such as one from `showSaveFilePicker()`
 * - a stream that takes pieces of type Uint8Array, and is closed at the end
 *
 * Where writing fails, a file keeps its old content, and a stream is aborted. In Node:
 *
 * - The content goes into a temporary file beside the target (`.x-transformers-….tmp`) and to the
 *   disk, and then takes the place of the target at once. A process that a signal ends (also
 *   Ctrl-C, unless the program handles it and exits) and a worker that is terminated leave that
 *   file behind: the first save of a later process to the folder removes it.
 * - A new file gets the usual mode (666 less the umask); an old one keeps its mode, owner and
 *   group, but not what else a system notes of files (extended attributes, access lists). Without
 *   its access list a file may be open to more users than before, as its mode alone counts then.
 * - Symbolic links are followed and stay; the target of a link that leads nowhere is made.
 * - A file is written in place where it has several names (hard links), where it cannot be replaced
 *   (a folder that may not be written, a mount point, a quota of files, an owner that may not be
 *   given), and where the path is that of an open file (`/dev/fd/3`). Where that fails in the
 *   middle, the error says that the file may be incomplete.
 * - A pipe or a device is written to, as is what is open as `/dev/stdout`.
 * - Refused, with code `file`: a folder, a socket, links in a circle, and a file that this process
 *   may not write or that nobody may (mode 444, for root too).
 * - Saves to one file run in the order of their calls: the last one wins. A synchronous one does
 *   not wait (`busy`).
 */
export type Target = string | FileHandle | WritableStream

/** Bytes in memory; null for a source of another kind. */
function bytesIn(source: unknown): Uint8Array | null {
  if (isBytes(source)) return presentBytes(source)
  // not `instanceof`: the buffer may come from another realm, such as a worker
  return tagOf(source) === 'ArrayBuffer' ? new Uint8Array(source as ArrayBuffer) : null
}

const isName = (source: unknown): source is string | URL =>
  typeof source === 'string' || isURL(source)

/** What reads a source. */
export async function openSource(source: Source, given: ReadOptions = {}): Promise<Input> {
  const options = checkReading(given)
  const { signal } = options
  const input = await openAny(source, options)
  if (!signal?.aborted) return input
  await input.close({ error: signal.reason })
  throw signal.reason
}

async function openAny(source: Source, options: ReadOptions): Promise<Input> {
  if (isName(source)) return await platform.read(source, options)
  const bytes = bytesIn(source)
  if (bytes) {
    new Meter(bytes.length, options.on_progress).end(bytes.length)
    return new MemoryInput(bytes)
  }
  // told by what they can do: they may be of another realm
  if (has(source, 'getFile')) return new BlobInput(await fileOf(source as FileHandle), options)
  if (has(source, 'clone') && 'ok' in (source as object)) {
    const { stream, origin } = bodyOf(source as Response)
    return new StreamInput(stream, origin, options)
  }
  if (has(source, 'getReader') || has(source, Symbol.asyncIterator)) {
    return new StreamInput(source, { name: 'the stream', size: null, exact: false }, options)
  }
  if (isBlob(source)) return new BlobInput(source, options)
  const hint = has(source, 'createReadStream') ? ': give its createReadStream(), or the path' : ''
  throw new XTransformersError(
    'invalid_argument',
    `a source is a URL, a Blob, a Response, a ReadableStream, a FileSystemFileHandle, a path, a Uint8Array or an ArrayBuffer, got ${describeValue(source)}${hint}`,
  )
}

/**
 * A file beside the one that a source names.
 *
 * @throws XTransformersError (`invalid_argument`) where the source is no name
 */
export function siblingOf(source: Source, file: string): string | URL {
  if (isName(source) && !/^(data|blob):/i.test(String(source)))
    return platform.sibling(source, file)
  throw new XTransformersError(
    'invalid_argument',
    `this file is the index of a checkpoint in several files, and ${file} cannot be found from it: give all of them, as [index, file, file]`,
  )
}

/**
 * The name of a file in the folder that a source names; null where it names no folder.
 *
 * @param file a name without folders
 */
export async function inFolder(source: Source, file: string): Promise<string | URL | null> {
  if (!isName(source) || !(await platform.isFolder(source))) return null
  // beside any file in it
  const within = `${String(source).replace(/\/$/, '')}/-`
  return platform.sibling(typeof source === 'string' ? within : new URL(within), file)
}

async function fileOf(handle: FileHandle): Promise<Blob> {
  const name = nameOf(handle, 'the file')
  let file: unknown
  try {
    file = await handle.getFile()
  } catch (error) {
    throw fileError(`${name} cannot be read: ${reasonOf(error)}`, error)
  }
  if (isBlob(file)) return file
  throw refuse(`what getFile() of ${name} gives`, 'a File', file)
}

/** As {@link openSource}, at once. */
export function openSourceSync(source: SyncSource): SyncInput {
  if (isName(source)) return platform.readSync(source)
  const bytes = bytesIn(source)
  if (bytes) return inMemory(bytes)
  throw new XTransformersError(
    'invalid_argument',
    `at once only a path, a Uint8Array or an ArrayBuffer can be loaded, got ${describeValue(source)}: await load() instead`,
  )
}

/**
 * The name of a target that is a file, where it is the name of one in PyTorch's format; else null.
 */
export function torchName(target: unknown): string | null {
  const name =
    typeof target === 'string' ? target : (target as { name?: unknown } | null | undefined)?.name
  return typeof name === 'string' && /\.(pt|pth|bin|ckpt)$/i.test(name) ? name : null
}

/**
 * For what is written as safetensors.
 *
 * @throws XTransformersError (`invalid_argument`) where `torch.load` would be given a file by that
 *   name
 */
function checkName(target: unknown): void {
  const name = torchName(target)?.split(/[/\\]/).at(-1)
  // .bin and .ckpt are names of many formats
  if (name === undefined || !/\.pth?$/i.test(name)) return
  const better = name.replace(/[^.]*$/, 'safetensors')
  throw new XTransformersError(
    'invalid_argument',
    `weights are saved as safetensors, which torch.load does not read: write ${describeValue(better)} in place of ${describeValue(name)}`,
  )
}

function openTarget(target: Target): Sink | Promise<Sink> {
  if (typeof target === 'string') return platform.open(target)
  if (has(target, 'getFile')) return handleSink(target as FileHandle)
  if (has(target, 'getWriter')) return streamSink(target as WritableStream, 'the stream')
  throw new XTransformersError(
    'invalid_argument',
    `a target is a path (in the browser "opfs:folder/name"), a FileSystemFileHandle or a WritableStream, got ${describeValue(target)}`,
  )
}

/**
 * Saves what `produce` makes. Both begin at once: the browser opens files only soon after a click,
 * and the weights are those of now.
 */
export async function saveTo(target: Target, produce: () => Promise<Uint8Array>): Promise<void> {
  const opening = openTarget(target)
  // it is waited for below, and may fail before
  if (isThenable(opening)) ignoreRejection(opening)
  let bytes: Uint8Array
  try {
    bytes = await produce()
  } catch (error) {
    await letGo(opening, error)
    throw error
  }
  const sink = await opening
  await sink.write(bytes)
}

/** Ends what was opened, and with it its turn in the order of saves. */
async function letGo(opening: Sink | Promise<Sink>, reason: unknown): Promise<void> {
  try {
    const sink = await opening
    await sink.abort(reason)
  } catch {
    // the caller hears of the first failure
  }
}

/** As {@link saveTo}, at once. */
export function saveToSync(path: string, produce: () => Uint8Array): void {
  if (typeof path !== 'string') {
    throw new XTransformersError(
      'invalid_argument',
      `at once only to a path can be saved, got ${describeValue(path)}: await save() instead`,
    )
  }
  platform.writeSync(path, produce)
}

/**
 * As {@link saveTo}, of safetensors.
 *
 * @throws XTransformersError (`invalid_argument`) where the target has a name of PyTorch's format
 */
export async function saveWeights(
  target: Target,
  produce: () => Promise<Uint8Array>,
): Promise<void> {
  checkName(target)
  await saveTo(target, produce)
}

/** As {@link saveWeights}, at once. */
export function saveWeightsSync(path: string, produce: () => Uint8Array): void {
  checkName(path)
  saveToSync(path, produce)
}

/** Bytes as a Blob, such as for a download. */
export function toBlob(bytes: Uint8Array): Blob {
  // a Blob takes no shared memory
  const plain = tagOf(bytes.buffer) === 'ArrayBuffer' ? bytes : bytes.slice()
  return new Blob([plain as Uint8Array<ArrayBuffer>], { type: 'application/octet-stream' })
}
