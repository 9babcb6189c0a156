import { type Files, native, files as platform } from '#native'
import { heavy } from './calls.js'
import { guarded, guardedAsync, XTransformersError } from './errors.js'
import type { NativeResult } from './native.js'
import { mergeGates, NO_GATES } from './schedule.js'
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

/** As JSON: names, and what else the file says. */
const texts = (tensors: ReadonlyMap<string, Tensor>, metadata: Record<string, string>) =>
  [JSON.stringify([...tensors.keys()]), JSON.stringify(metadata)] as const

const handlesOf = (tensors: ReadonlyMap<string, Tensor>) => Array.from(tensors.values(), (tensor) => tensor[HANDLE])

/** Named tensors as the bytes of a safetensors file; parameters as they are once the calls made before have ended. */
export async function writeTensorBytes(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Record<string, string>,
): Promise<Uint8Array> {
  const inputs = handlesOf(tensors)
  const [names, rest] = texts(tensors, metadata)
  const start = () =>
    native.writeTensors(
      names,
      inputs.map((handle) => handle.pinned()),
      rest,
    )
  return await heavy({
    reads: mergeGates(inputs.map((handle) => handle.valueGates())),
    writes: NO_GATES,
    inputs,
    start,
  })
}

/** As {@link writeTensorBytes}, at once. */
export function writeTensorBytesSync(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Record<string, string>,
): Uint8Array {
  const natives = handlesOf(tensors).map((handle) => handle.settled('saving'))
  const [names, rest] = texts(tensors, metadata)
  return guarded(() => native.writeTensorsSync(names, natives, rest))
}

/** What is in a safetensors file. */
export interface TensorFile {
  metadata: Record<string, string>
  tensors: Map<string, Tensor>
}

/** Reads the bytes of a safetensors file. */
export async function readTensorBytes(bytes: Uint8Array): Promise<TensorFile> {
  return unpack(await guardedAsync(() => native.readTensors(bytes)))
}

/** As {@link readTensorBytes}, at once. */
export function readTensorBytesSync(bytes: Uint8Array): TensorFile {
  return unpack(guarded(() => native.readTensorsSync(bytes)))
}

function unpack({ json, tensors }: NativeResult): TensorFile {
  const wrapped = tensors.map((tensor) => wrap(tensor))
  const file: { metadata?: Record<string, string>; tensors: Record<string, { $tensor: number }> } = JSON.parse(json)
  const named = Object.entries(file.tensors).map(([name, { $tensor }]) => [name, wrapped[$tensor] as Tensor] as const)
  return { metadata: file.metadata ?? {}, tensors: new Map(named) }
}
