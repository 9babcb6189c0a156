import { native } from '#native'
import { guarded, guardedAsync, XTransformersError } from './errors.js'
import {
  explain,
  readTensorBytes,
  readTensorBytesSync,
  type TensorFile,
  writeTensorBytes,
  writeTensorBytesSync,
} from './files.js'
import * as models from './models/index.js'
import type { Module } from './module.js'
import type { ModuleDescription, NativeModule } from './native.js'
import { Adopted, type NativeModel } from './native-model.js'
import { readBytes, readBytesSync, type Source, type SyncSource, saveTo, saveToSync, type Target } from './sources.js'
import { type ReadOptions, throwIfAborted } from './streams.js'
import { checkDevice, checkTensor, type Device, type Tensor } from './tensor.js'

/** Options of {@link load}. */
export interface LoadOptions extends ReadOptions {
  /**
   * Where the weights shall be.
   *
   * @default 'cpu'
   */
  device?: Device
}

/** A loaded model as its class, the models within too. */
function rebuild(loaded: NativeModule): NativeModel {
  const { class: name, options } = JSON.parse(guarded(() => loaded.describe())) as ModuleDescription
  const Class = (models as unknown as Record<string, new (adopted: Adopted) => NativeModel>)[name]
  if (!Class)
    throw new XTransformersError(
      'invalid_checkpoint',
      `the checkpoint holds a ${name}, which this version does not know`,
    )
  const inner = Object.keys(options).filter((key) => isModel(options[key]))
  return new Class(new Adopted(loaded, new Map(inner.map((key) => [key, rebuild(guarded(() => loaded.child(key)))]))))
}

/** Whether an option stands for a model: `{ class, options }`. */
const isModel = (option: unknown) => typeof (option as { class?: unknown } | null)?.class === 'string'

/**
 * Rebuilds a whole model from a checkpoint that `save`, `saveBlob` or `saveBytes` has made.
 *
 * @param source a path (Node), an address, a File, the bytes of the file ...: see {@link Source}
 * @throws XTransformersError (`file`, `invalid_checkpoint`)
 * @example
 * const model = await load<AutoregressiveWrapper>('moby-dick.safetensors')
 * @example
 * const model = await load(new URL('https://example.org/moby-dick.safetensors'), {
 *   on_progress: ({ loaded, total }) => console.log(`${loaded} of ${total ?? '?'} bytes`),
 * })
 */
export async function load<M extends Module = Module>(
  source: Source,
  { device = 'cpu', ...reading }: LoadOptions = {},
): Promise<M> {
  const target = checkDevice(device)
  const bytes = await readBytes(source, reading)
  const loaded = await guardedAsync(() => native.load(bytes, target)).catch((error) => {
    throw explain(error, bytes)
  })
  if (reading.signal?.aborted) loaded.dispose()
  throwIfAborted(reading.signal)
  return rebuild(loaded) as Module as M
}

/** As {@link load}, at once: of a path (Node) or of bytes. */
export function loadSync<M extends Module = Module>(
  source: SyncSource,
  { device = 'cpu' }: Pick<LoadOptions, 'device'> = {},
): M {
  const target = checkDevice(device)
  const bytes = readBytesSync(source)
  try {
    return rebuild(native.loadSync(bytes, target)) as Module as M
  } catch (error) {
    throw explain(error, bytes)
  }
}

/**
 * Reads the tensors of any safetensors file, such as one from Python.
 *
 * @throws XTransformersError (`file`, `invalid_checkpoint`)
 * @example
 * const { tensors } = await loadTensors('weights.safetensors')
 * model.loadStateDict(tensors)
 */
export async function loadTensors(source: Source, options: ReadOptions = {}): Promise<TensorFile> {
  const file = await readTensorBytes(await readBytes(source, options))
  if (options.signal?.aborted) for (const tensor of file.tensors.values()) tensor.dispose()
  throwIfAborted(options.signal)
  return file
}

/** As {@link loadTensors}, at once: of a path (Node) or of bytes. */
export function loadTensorsSync(source: SyncSource): TensorFile {
  return readTensorBytesSync(readBytesSync(source))
}

/**
 * Writes named tensors as a safetensors file.
 *
 * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see {@link Target}
 * @throws XTransformersError (`file`)
 * @example
 * await saveTensors(model.stateDict(), 'weights.safetensors')
 */
export async function saveTensors(
  tensors: ReadonlyMap<string, Tensor>,
  target: Target,
  metadata: Record<string, string> = {},
): Promise<void> {
  for (const [name, tensor] of tensors) checkTensor(tensor, name)
  await saveTo(target, () => writeTensorBytes(tensors, { format: 'pt', ...metadata }))
}

/** As {@link saveTensors}, at once: to a path (Node). */
export function saveTensorsSync(
  tensors: ReadonlyMap<string, Tensor>,
  path: string,
  metadata: Record<string, string> = {},
): void {
  for (const [name, tensor] of tensors) checkTensor(tensor, name)
  saveToSync(path, () => writeTensorBytesSync(tensors, { format: 'pt', ...metadata }))
}
