/** The files of a model: those of a folder, of an address, or of a list. */
import { describeValue, isBlob, isMap, isRecord, isURL, refuse } from '../checks.js'
import type { ReadOptions } from '../control.js'
import { XTransformersError } from '../errors.js'
import { isMissing } from '../io/file-errors.js'
import { inFolder, type Source } from '../io/sources.js'
import { parseJSON, readBytes, readText } from '../tokenizers/read.js'

/**
 * Where the files of a model are.
 *
 * - a folder: a path in Node, an address that ends in `/`, or `opfs:folder` in a browser
 * - the files by name, as an object or a Map: `{ 'config.json': …, 'model.safetensors': … }`
 * - a list of files that have names, such as those of an `<input type="file" multiple>`
 */
export type HuggingFaceSource =
  | string
  | URL
  | ReadonlyMap<string, Source>
  | Readonly<Record<string, Source>>
  | readonly File[]

/** Finds files by name. */
export interface ModelFiles {
  /** For messages. */
  readonly name: string
  /** What to read; null where it is plain that there is none. */
  find(file: string): Promise<Source | null>
}

async function folderOf(source: string | URL): Promise<ModelFiles> {
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
      `${describeValue(name)} is no folder: give the folder that has config.json and the weights, or an address that ends in /`,
    )
  }
  return { name: describeValue(name), find: (file) => inFolder(source, file) }
}

const fromMap = (files: ReadonlyMap<string, Source>): ModelFiles => ({
  name: 'what was given',
  find: async (file) => files.get(file) ?? null,
})

/** A name without the folders before it. */
const lastPart = (path: string) => path.replace(/^.*[/\\]/, '')

function fromList(files: readonly unknown[]): ModelFiles {
  const named = files.map((file): [string, Source] => {
    const name = isBlob(file) ? (file as Partial<File>).name : undefined
    if (typeof name === 'string') return [lastPart(name), file as Blob]
    throw refuse('each of a list of files', 'a File, which has a name', file)
  })
  return fromMap(new Map(named))
}

/** @throws XTransformersError (`invalid_argument`) where it names no files */
export async function openFiles(source: HuggingFaceSource): Promise<ModelFiles> {
  if (typeof source === 'string' || isURL(source)) return await folderOf(source)
  if (Array.isArray(source)) return fromList(source)
  if (isMap(source)) return fromMap(source as ReadonlyMap<string, Source>)
  if (isRecord(source))
    return fromMap(new Map(Object.entries(source as Readonly<Record<string, Source>>)))
  throw refuse('what is loaded', 'a folder, an object of files by name, or a list of Files', source)
}

/** The result of `read` for a file; null where there is no such file. */
export async function ifThere<T>(
  files: ModelFiles,
  file: string,
  read: (source: Source) => Promise<T>,
): Promise<T | null> {
  const source = await files.find(file)
  if (source === null) return null
  try {
    return await read(source)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/** What a file of JSON says, which must be an object; null where there is no such file. */
export const readJSON = (files: ModelFiles, file: string, options: ReadOptions) =>
  ifThere(files, file, async (source) => {
    const json = parseJSON(await readBytes(source, options), file)
    if (isRecord(json)) return json
    throw new XTransformersError(
      'invalid_checkpoint',
      `${file} must be an object, got ${describeValue(json)}`,
    )
  })

/** The text of a file; null where there is no such file. */
export const readTextFile = (files: ModelFiles, file: string, options: ReadOptions) =>
  ifThere(files, file, (source) => readText(source, options))
