import { type Files, native, files as platform } from '#native'
import { guarded, XTransformersError } from './errors.js'
import { HANDLE } from './symbols.js'
import { type Tensor, wrap } from './tensor.js'

/** Something to load: a path, or the bytes of a file. */
export type Source = string | Uint8Array | ArrayBuffer

/** The file system. */
export function files(): Files {
  if (platform) return platform
  throw new XTransformersError('file', 'there are no files here: use saveBytes() and load(bytes)')
}

/** A source that is not a path, as bytes. */
function toBytes(source: Exclude<Source, string>): Uint8Array {
  if (source instanceof Uint8Array) return source
  // not `instanceof`: the buffer may come from another realm, such as a worker
  if (Object.prototype.toString.call(source) === '[object ArrayBuffer]') return new Uint8Array(source)
  throw new XTransformersError('invalid_argument', 'load takes a path, a Uint8Array or an ArrayBuffer')
}

/** The bytes of a file. */
export async function readBytes(source: Source): Promise<Uint8Array> {
  return typeof source === 'string' ? await files().read(source) : toBytes(source)
}

/** As {@link readBytes}, at once. */
export function readBytesSync(source: Source): Uint8Array {
  return typeof source === 'string' ? files().readSync(source) : toBytes(source)
}

/** Named tensors as the bytes of a safetensors file. */
export function writeTensorBytes(tensors: ReadonlyMap<string, Tensor>, metadata: Record<string, string>): Uint8Array {
  const natives = [...tensors.values()].map((tensor) => tensor[HANDLE].use())
  return guarded(() => native.writeTensors(JSON.stringify([...tensors.keys()]), natives, JSON.stringify(metadata)))
}

/** What is in a safetensors file. */
export interface TensorFile {
  metadata: Record<string, string>
  tensors: Map<string, Tensor>
}

/** Reads the bytes of a safetensors file. */
export function readTensorBytes(bytes: Uint8Array): TensorFile {
  const { json, tensors } = guarded(() => native.readTensors(bytes))
  const wrapped = tensors.map((tensor) => wrap(tensor))
  const file: { metadata?: Record<string, string>; tensors: Record<string, { $tensor: number }> } = JSON.parse(json)
  const named = Object.entries(file.tensors).map(([name, { $tensor }]) => [name, wrapped[$tensor] as Tensor] as const)
  return { metadata: file.metadata ?? {}, tensors: new Map(named) }
}
