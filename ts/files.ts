import { native } from '#native'
import { heavy } from './calls.js'
import { fromNative, guarded, guardedAsync, XTransformersError } from './errors.js'
import type { NativeResult } from './native.js'
import { mergeGates, NO_GATES } from './schedule.js'
import { HANDLE } from './symbols.js'
import { type Tensor, wrap } from './tensor.js'

/** What is often loaded by mistake, by how it begins. */
const MISTAKES: readonly [start: RegExp, what: string][] = [
  [/^$/, 'it is empty'],
  [
    /^(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml)/i,
    'it looks like HTML, as servers answer where there is no such file: check the address',
  ],
  [/^version https:\/\/git-lfs/, 'it is a pointer of Git LFS: fetch the file itself (git lfs pull)'],
  [/^PK/, "it is a zip file, as torch.save makes: write it in Python with safetensors' save_file"],
  [/^.\x8b/s, 'it is compressed (gzip): unpack it first'],
]

/** An error about bytes that cannot be loaded, which also says what they are where that is plain to see. */
export function explain(error: unknown, bytes: Uint8Array): XTransformersError {
  const plain = fromNative(error)
  const start = String.fromCharCode(...bytes.subarray(0, 40))
  // the header of a safetensors file begins at the ninth byte
  const what = start[8] === '{' ? undefined : MISTAKES.find(([pattern]) => pattern.test(start))?.[1]
  if (plain.code !== 'invalid_checkpoint' || what === undefined) return plain
  return new XTransformersError(plain.code, `${plain.message}; ${what}`, [], { cause: plain })
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
  const pending = guardedAsync(() => native.readTensors(bytes))
  return unpack(
    await pending.catch((error) => {
      throw explain(error, bytes)
    }),
  )
}

/** As {@link readTensorBytes}, at once. */
export function readTensorBytesSync(bytes: Uint8Array): TensorFile {
  try {
    return unpack(native.readTensorsSync(bytes))
  } catch (error) {
    throw explain(error, bytes)
  }
}

function unpack({ json, tensors }: NativeResult): TensorFile {
  const wrapped = tensors.map((tensor) => wrap(tensor))
  const file: { metadata?: Record<string, string>; tensors: Record<string, { $tensor: number }> } = JSON.parse(json)
  const named = Object.entries(file.tensors).map(([name, { $tensor }]) => [name, wrapped[$tensor] as Tensor] as const)
  return { metadata: file.metadata ?? {}, tensors: new Map(named) }
}
