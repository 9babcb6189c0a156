import { checkOptions } from './checks.js'
import { guarded, XTransformersError } from './errors.js'
import {
  readTensors,
  readTensorsSync,
  type SyncTensorSource,
  type TensorFile,
  type TensorReadOptions,
  type TensorSource,
  writeTensorBytes,
  writeTensorBytesSync,
} from './files.js'
import * as models from './models/index.js'
import type { Module } from './module.js'
import { checkMetadata, checkNamed, type NamedTensors } from './named.js'
import type { ModuleDescription, NativeModule } from './native.js'
import { Adopted, type NativeModel } from './native-model.js'
import { readSource, readSourceSync } from './reading.js'
import { Index } from './shards.js'
import { checkName, type Source, type SyncSource, saveTo, saveToSync, type Target } from './sources.js'
import { type ReadOptions, throwIfAborted } from './streams.js'
import { checkDevice, type Device } from './tensor.js'

/** Options of {@link load}. */
export interface LoadOptions extends ReadOptions {
  /**
   * Where the weights shall be.
   *
   * @default 'cpu'
   */
  device?: Device | undefined
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
export async function load<M extends Module = Module>(source: Source, options: LoadOptions = {}): Promise<M> {
  const { device, ...reading } = checkOptions(options, 'load()', ['device', 'signal', 'on_progress'])
  const target = checkDevice(device ?? 'cpu')
  const loaded = modelIn(await readSource(source, WHOLE, reading, (reader) => reader.model(target)))
  if (reading.signal?.aborted) loaded.dispose()
  throwIfAborted(reading.signal)
  return rebuild(loaded) as Module as M
}

/** How a checkpoint of a whole model is read. */
const WHOLE = { key: null, widen: true, optimizer: false }

function modelIn(loaded: NativeModule | Index): NativeModule {
  if (!(loaded instanceof Index)) return loaded
  throw new XTransformersError(
    'invalid_checkpoint',
    'this is the index of a checkpoint in several files, which does not say which model it is for: build the model with its constructor, then use loadWeights',
  )
}

/** As {@link load}, at once: of a path (Node) or of bytes. */
export function loadSync<M extends Module = Module>(source: SyncSource, options: Pick<LoadOptions, 'device'> = {}): M {
  const { device } = checkOptions(options, 'loadSync()', ['device'])
  const target = checkDevice(device ?? 'cpu')
  return rebuild(modelIn(readSourceSync(source, WHOLE, (reader) => reader.modelSync(target)))) as Module as M
}

/**
 * Reads the tensors of a file: safetensors, or a state dict that `torch.save` has written (PyTorch 1.6 or newer; of its pickle nothing is
 * executed). A checkpoint in several files is read by its index, which names those beside it, or as the list of its files.
 *
 * Pieces go straight into the tensors. Only PyTorch's format from a stream or an address is held in memory as a whole, since its directory is
 * at the end.
 *
 * @throws XTransformersError (`file`, `invalid_checkpoint`, `out_of_memory`); (`not_available`)
 *   for tensors whose type or layout is not supported, by name
 * @example
 * const { tensors } = await loadTensors('pytorch_model.bin')
 * model.loadStateDict(tensors)
 * @example
 * await loadTensors('model.safetensors.index.json') // in Node, or an address
 * await loadTensors([...input.files]) // in a page
 */
export async function loadTensors(source: TensorSource, options: TensorReadOptions = {}): Promise<TensorFile> {
  return await readTensors(source, checkOptions(options, 'loadTensors()', ['key', 'signal', 'on_progress']))
}

/** As {@link loadTensors}, at once: of paths (Node) or of bytes. */
export function loadTensorsSync(source: SyncTensorSource, options: Pick<TensorReadOptions, 'key'> = {}): TensorFile {
  return readTensorsSync(source, checkOptions(options, 'loadTensorsSync()', ['key']))
}

/**
 * Writes named tensors as a safetensors file. Types, shapes and values come back as they are, to the last bit.
 * A name that PyTorch's files have (`.pt`, `.pth`) is refused (`invalid_argument`).
 *
 * @param tensors a Map, or an object
 * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see {@link Target}
 * @param metadata what the file says besides: strings by name; `format` is `pt` where it is not given
 * @throws XTransformersError (`file`); (`invalid_argument`) where a name is `__metadata__` or no text that UTF-8 can hold, or where `metadata` has
 * something else than strings: nothing is touched then
 * @example
 * await saveTensors(model.stateDict(), 'weights.safetensors')
 * @example
 * await saveTensors({ mean, deviation }, 'statistics.safetensors', { step: String(step) })
 */
export async function saveTensors(
  tensors: NamedTensors,
  target: Target,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const [named, said] = [checkNamed(tensors), checkMetadata(metadata)]
  checkName(target)
  await saveTo(target, () => writeTensorBytes(named, { format: 'pt', ...said }))
}

/** As {@link saveTensors}, at once: to a path (Node). */
export function saveTensorsSync(
  tensors: NamedTensors,
  path: string,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const [named, said] = [checkNamed(tensors), checkMetadata(metadata)]
  checkName(path)
  saveToSync(path, () => writeTensorBytesSync(named, { format: 'pt', ...said }))
}
