import { files as platform } from '#files'
import { checkOptions, has, isRecord, refuse } from '../checks.js'
import type { FileHandle } from '../io/platform.js'
import { parseIndex } from '../io/shards.js'
import { type Source, saveTo, type Target } from '../io/sources.js'
import { writeTensorBytes } from '../io/tensor-files.js'
import { readBytes } from '../tokenizers/read.js'
import type { HuggingFaceModel } from './build.js'
import type { Json } from './config/read.js'
import { configFor, originFor, placesFor } from './places.js'
import { inParts, type Outgoing, outgoing, withTensors } from './weights/save.js'

/** A folder of a browser: a `FileSystemDirectoryHandle`, as far as it is used here. */
export interface FolderHandle {
  getFileHandle(name: string, options?: { create?: boolean }): Promise<FileHandle>
  removeEntry(name: string): Promise<void>
}

/** Options of {@link toHuggingFace}. */
export interface ToHuggingFaceOptions {
  /**
   * What config.json shall be. Default: that of the files that the model came from, or of its
   * preset.
   */
  config?: Json | undefined
  /**
   * The type of the weights in the file.
   *
   * @default 'f32'
   */
  dtype?: 'f32' | 'f16' | 'bf16' | undefined
  /**
   * Most bytes of a file of weights: larger models become several files with an index, as
   * `transformers` writes and reads them. While a file is written, memory holds it as a whole.
   *
   * @default 1e9
   */
  max_shard_bytes?: number | undefined
}

/** The types of weights, as transformers names them. */
const TYPES = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' } as const
const BYTES = { f32: 4, f16: 2, bf16: 2 } as const

type SavedType = keyof typeof TYPES

function checkTo(options: ToHuggingFaceOptions | undefined) {
  const names = ['config', 'dtype', 'max_shard_bytes']
  const own = checkOptions(options, 'toHuggingFace()', names)
  const { config, dtype = 'f32', max_shard_bytes: bytes = 1e9 } = own
  if (config !== undefined && !isRecord(config)) throw refuse('config', 'an object', config)
  if (!Object.hasOwn(TYPES, dtype)) throw refuse('dtype', 'f32, f16 or bf16', dtype)
  if (typeof bytes !== 'number' || !(bytes > 0))
    throw refuse('max_shard_bytes', 'a number above 0', bytes)
  return { config: config ?? null, dtype: dtype as SavedType, bytes }
}

/** Reads, writes and removes files of a folder. */
interface Folder {
  source(name: string): Promise<Source>
  target(name: string): Promise<Target>
  remove(name: string): Promise<void>
}

async function openFolder(folder: string | FolderHandle): Promise<Folder> {
  if (typeof folder === 'string') {
    await platform.makeFolder(folder)
    const path = (name: string) => `${folder}${folder.endsWith('/') ? '' : '/'}${name}`
    const named = async (name: string) => path(name)
    return { source: named, target: named, remove: (name) => platform.remove(path(name)) }
  }
  if (!has(folder, 'getFileHandle'))
    throw refuse(
      'the folder',
      'a path (in the browser "opfs:folder"), or a FileSystemDirectoryHandle',
      folder,
    )
  return {
    source: (name) => folder.getFileHandle(name),
    target: (name) => folder.getFileHandle(name, { create: true }),
    // one that is not there is gone already
    remove: (name) => folder.removeEntry(name).catch(() => {}),
  }
}

const jsonBytes = (json: unknown) => new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`)

async function write(folder: Folder, name: string, bytes: Uint8Array): Promise<void> {
  await saveTo(await folder.target(name), async () => bytes)
}

const SINGLE = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'

const shardName = (i: number, of: number) => {
  const five = (n: number) => String(n).padStart(5, '0')
  return `model-${five(i + 1)}-of-${five(of)}.safetensors`
}

/** The files of an earlier save in several: of those of its index the ones with names of ours. */
async function oldShards(folder: Folder): Promise<string[]> {
  try {
    const { names } = parseIndex(await readBytes(await folder.source(INDEX), {}))
    return names.filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name))
  } catch {
    // there is none, or nothing is known of it
    return []
  }
}

/** Writes the weights: in one file, or in several with their index. */
async function writeWeights(
  folder: Folder,
  parts: readonly Outgoing[][],
  dtype: SavedType,
): Promise<void> {
  const fileOf = (i: number) => (parts.length === 1 ? SINGLE : shardName(i, parts.length))
  const written = new Set(parts.map((_, i) => fileOf(i)))
  const old = (await oldShards(folder)).filter((name) => !written.has(name))
  for (const [i, part] of parts.entries()) {
    await withTensors(part, dtype, async (tensors) => {
      const target = await folder.target(fileOf(i))
      await saveTo(target, () => writeTensorBytes(tensors, { format: 'pt' }))
    })
  }
  // of an earlier save: it would be read in place of these
  for (const name of [parts.length === 1 ? INDEX : SINGLE, ...old]) await folder.remove(name)
  if (parts.length === 1) return
  const all = parts.flat()
  const total_size = all.reduce((sum, { size }) => sum + size, 0) * BYTES[dtype]
  const weight_map = Object.fromEntries(
    parts.flatMap((part, i) => part.map(({ name }) => [name, fileOf(i)])),
  )
  await write(folder, INDEX, jsonBytes({ metadata: { total_size }, weight_map }))
}

/** config.json with the type of the weights. */
function withType(config: Json, dtype: SavedType): Json {
  const key = Object.hasOwn(config, 'torch_dtype') ? 'torch_dtype' : 'dtype'
  return { ...config, [key]: TYPES[dtype] }
}

/**
 * Writes a model as Python's `transformers` and {@link fromHuggingFace} read it: config.json, the
 * weights under the names of Hugging Face, and what came along: generation_config.json, the
 * tokenizer, the heads.
 *
 * The model is one of {@link fromHuggingFace}, trained or not, or of a preset. For another one,
 * such as one that `load()` gave, name its `config`: the model must have the options that it
 * describes.
 *
 * Weights of an earlier save to the folder are removed, but no other file that the model does not
 * have: write another model to another folder.
 *
 * @param folder a path in Node, `opfs:folder` in a browser, or a `FileSystemDirectoryHandle`; it is
 *   made where there is none
 * @throws XTransformersError (`invalid_argument`) where the model is not the one that the
 *   configuration describes; (`invalid_state`) where the files could not hold its weights; (`file`)
 * @example
 * await toHuggingFace(model, 'models/mine')
 */
export async function toHuggingFace(
  model: HuggingFaceModel,
  folder: string | FolderHandle,
  options: ToHuggingFaceOptions = {},
): Promise<void> {
  const { config, dtype, bytes } = checkTo(options)
  const origin = originFor(model, config)
  const all = outgoing(placesFor(model, origin), origin.names ?? new Map())
  const parts = inParts(all, bytes, BYTES[dtype])
  const target = await openFolder(folder)
  await writeWeights(target, parts, dtype)
  for (const [name, content] of Object.entries(origin.tokenizer ?? {})) {
    if (content === null) continue
    const text = typeof content === 'string'
    await write(target, name, text ? new TextEncoder().encode(content) : jsonBytes(content))
  }
  if (origin.generation) await write(target, 'generation_config.json', jsonBytes(origin.generation))
  // last: with it the folder is whole
  await write(target, 'config.json', jsonBytes(withType(configFor(model, origin), dtype)))
}
