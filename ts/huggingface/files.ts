/** The files of a model: those of a folder, of an address, or of a list. */
import { describeValue, has, isBlob, isMap, isRecord, isURL, refuse } from '../checks.js'
import type { ReadOptions } from '../control.js'
import { XTransformersError } from '../errors.js'
import { isMissing } from '../io/file-errors.js'
import { inFolder, type Source } from '../io/sources.js'
import { readBytesIfThere, readIfThere, readOptionalBytes } from '../tokenizers/optional.js'
import { decoded, readBytes, recordIn } from '../tokenizers/read.js'

/**
 * Where the files of a model are.
 *
 * - a folder: a path in Node, `opfs:folder` in a browser, or an address that ends in `/`
 * - the files by name, as an object or a Map: `{ 'config.json': …, 'model.safetensors': … }`
 * - files that have names, such as those of an `<input type="file" multiple>`; where they are in
 *   several folders (`webkitdirectory`), those of the outermost one with a config.json
 */
export type HuggingFaceSource =
  | string
  | URL
  | ReadonlyMap<string, Source>
  | Readonly<Record<string, Source>>
  | Iterable<File>

/** Finds files by name. */
export interface ModelFiles {
  /** For messages. */
  readonly name: string
  /** What to read; null where it is plain that there is none. */
  find(file: string): Promise<Source | null>
}

/** Where a folder is: also in Node a string may be an address. */
function placeOf(source: string | URL): string | URL {
  if (typeof source !== 'string' || !/^https?:\/\//i.test(source)) return source
  try {
    return new URL(source)
  } catch {
    throw refuse('what is loaded', 'a folder, or a valid address', source)
  }
}

/** What else a name may be meant as that is no folder: that of a model of the Hub. */
const hubHint = (name: string) =>
  /^[\w.-]+\/[\w.-]+$/.test(name)
    ? ` (that of a model of the Hub is https://huggingface.co/${name}/resolve/main/)`
    : ''

async function folderOf(given: string | URL): Promise<ModelFiles> {
  const source = placeOf(given)
  const name = String(source)
  if (/\.(gguf|ggml)$/i.test(name)) {
    throw new XTransformersError(
      'not_available',
      `${name} is a file of GGUF, which is not read: load the folder with config.json and the safetensors that it was made from`,
    )
  }
  if ((await inFolder(source, 'config.json')) === null) {
    throw new XTransformersError(
      'invalid_argument',
      `${describeValue(name)} is no folder: give the folder that has config.json and the weights, or an address that ends in /${hubHint(name)}`,
    )
  }
  return { name: describeValue(name), find: (file) => inFolder(source, file) }
}

const fromMap = (files: ReadonlyMap<string, Source>): ModelFiles => ({
  name: 'what was given',
  find: async (file) => files.get(file) ?? null,
})

/** A File of a list: the folders that it lies in, and its name. */
interface Listed {
  folder: string
  name: string
  file: Blob
}

function listed(file: unknown): Listed {
  const { name, webkitRelativePath } = (isBlob(file) ? file : {}) as Partial<File>
  if (typeof name !== 'string')
    throw refuse('each of a list of files', 'a File, which has a name', file)
  // the name alone, unless a whole folder was chosen
  const path = webkitRelativePath || name
  const [last = ''] = /[^/\\]*$/.exec(path) ?? []
  return { folder: path.slice(0, -last.length), name: last, file: file as Blob }
}

/** The outermost folder that has a config.json; there may be other ones in folders within it. */
function outermost(files: readonly Listed[]): string | null {
  const depth = (folder: string) => folder.split(/[/\\]/).length
  const folders = files.filter(({ name }) => name === 'config.json').map(({ folder }) => folder)
  return folders.sort((a, b) => depth(a) - depth(b))[0] ?? null
}

function fromList(list: Iterable<unknown>): ModelFiles {
  const all: Listed[] = []
  for (const file of list) all.push(listed(file))
  const folder = outermost(all)
  const files = new Map<string, Source>()
  for (const one of all) {
    if (folder !== null && one.folder !== folder) continue
    if (files.has(one.name))
      throw new XTransformersError(
        'invalid_argument',
        `the list has two files ${describeValue(one.name)}: give those of one model alone`,
      )
    files.set(one.name, one.file)
  }
  return fromMap(files)
}

/** @throws XTransformersError (`invalid_argument`) where it names no files */
export async function openFiles(source: HuggingFaceSource): Promise<ModelFiles> {
  if (typeof source === 'string' || isURL(source)) return await folderOf(source)
  if (isMap(source)) return fromMap(source as ReadonlyMap<string, Source>)
  if (has(source, Symbol.iterator)) return fromList(source as Iterable<unknown>)
  if (isRecord(source))
    return fromMap(new Map(Object.entries(source as Readonly<Record<string, Source>>)))
  throw refuse('what is loaded', 'a folder, an object of files by name, or a list of Files', source)
}

/**
 * The result of `read` for a file; null where there is no such file, or where a server has answered
 * with a page in its place.
 */
export async function ifThere<T>(
  files: ModelFiles,
  file: string,
  options: ReadOptions,
  read: (source: Source) => Promise<T>,
): Promise<T | null> {
  const found = await files.find(file)
  return found === null ? null : await readIfThere(found, options, read)
}

/** The bytes of a file; null as for {@link ifThere}. */
export async function bytesIfThere(
  files: ModelFiles,
  file: string,
  options: ReadOptions,
): Promise<Uint8Array | null> {
  const found = await files.find(file)
  return found === null ? null : await readBytesIfThere(found, options)
}

/** As {@link bytesIfThere}, of what a model can do without: also null where it is forbidden. */
async function optionalBytes(
  ...[files, file, options]: Parameters<typeof bytesIfThere>
): Promise<Uint8Array | null> {
  const found = await files.find(file)
  return found === null ? null : await readOptionalBytes(found, options)
}

/** What a file of JSON says, which must be an object; null where there is no such file. */
export async function readJSON(files: ModelFiles, file: string, options: ReadOptions) {
  const bytes = await optionalBytes(files, file, options)
  return bytes && recordIn(bytes, file)
}

/**
 * What a file of JSON says that must be there.
 *
 * @throws XTransformersError (`file`) where it is not
 */
export async function requireJSON(files: ModelFiles, file: string, options: ReadOptions) {
  const source = await files.find(file)
  try {
    if (source !== null) return recordIn(await readBytes(source, options), file)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  throw new XTransformersError('file', `there is no ${file} in ${files.name}`)
}

/** The text of a file; null where there is no such file. */
export async function readTextFile(files: ModelFiles, file: string, options: ReadOptions) {
  const bytes = await optionalBytes(files, file, options)
  return bytes && decoded(bytes, file)
}
