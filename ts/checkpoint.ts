import { native } from '#native'
import { guarded, guardedAsync, XTransformersError } from './errors.js'
import {
  files,
  readBytes,
  readBytesSync,
  readTensorBytes,
  readTensorBytesSync,
  type Source,
  type TensorFile,
  writeTensorBytes,
  writeTensorBytesSync,
} from './files.js'
import * as models from './models/index.js'
import type { Module } from './module.js'
import type { ModuleDescription, NativeModule } from './native.js'
import { Adopted, type NativeModel } from './native-model.js'
import { checkDevice, checkTensor, type Device, type Tensor } from './tensor.js'

/** Options of {@link load}. */
export interface LoadOptions {
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
 * Rebuilds a whole model from a checkpoint that `save` or `saveBytes` has made.
 *
 * @param source a path (Node), or the bytes of the file
 * @throws XTransformersError (`file`, `invalid_checkpoint`)
 * @example
 * const model = await load<AutoregressiveWrapper>('moby-dick.safetensors')
 */
export async function load<M extends Module = Module>(
  source: Source,
  { device = 'cpu' }: LoadOptions = {},
): Promise<M> {
  const target = checkDevice(device)
  const bytes = await readBytes(source)
  return rebuild(await guardedAsync(() => native.load(bytes, target))) as Module as M
}

/** As {@link load}, at once. */
export function loadSync<M extends Module = Module>(source: Source, { device = 'cpu' }: LoadOptions = {}): M {
  const target = checkDevice(device)
  const bytes = readBytesSync(source)
  return rebuild(guarded(() => native.loadSync(bytes, target))) as Module as M
}

/**
 * Reads the tensors of any safetensors file, such as one from Python.
 *
 * @example
 * const { tensors } = await loadTensors('weights.safetensors')
 * model.loadStateDict(tensors)
 */
export async function loadTensors(source: Source): Promise<TensorFile> {
  return await readTensorBytes(await readBytes(source))
}

/** As {@link loadTensors}, at once. */
export function loadTensorsSync(source: Source): TensorFile {
  return readTensorBytesSync(readBytesSync(source))
}

/**
 * Writes named tensors as a safetensors file (a temporary file, then a rename).
 *
 * @example
 * await saveTensors(model.stateDict(), 'weights.safetensors')
 */
export async function saveTensors(
  tensors: ReadonlyMap<string, Tensor>,
  path: string,
  metadata: Record<string, string> = {},
): Promise<void> {
  const store = files()
  for (const [name, tensor] of tensors) checkTensor(tensor, name)
  await store.write(path, await writeTensorBytes(tensors, { format: 'pt', ...metadata }))
}

/** As {@link saveTensors}, at once. */
export function saveTensorsSync(
  tensors: ReadonlyMap<string, Tensor>,
  path: string,
  metadata: Record<string, string> = {},
): void {
  for (const [name, tensor] of tensors) checkTensor(tensor, name)
  files().writeSync(path, writeTensorBytesSync(tensors, { format: 'pt', ...metadata }))
}
