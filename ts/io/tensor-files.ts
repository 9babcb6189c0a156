import { native } from '#native'
import { isText, refuse } from '../checks.js'
import { checkReading, type Progress, type ReadOptions, throwIfAborted } from '../control.js'
import { guarded, XTransformersError } from '../errors.js'
import { jsonOf } from '../native/json.js'
import type { NativeReader, NativeResult, NativeTensor } from '../native/native.js'
import { HANDLE } from '../symbols.js'
import { heavy } from '../tensor/calls.js'
import { ownBytes } from '../tensor/data.js'
import { mergeGates, NO_GATES } from '../tensor/schedule.js'
import { type Tensor, wrap } from '../tensor/tensor.js'
import { readSource, readSourceSync, type Settings, watch } from './reading.js'
import { Index } from './shards.js'
import { type Source, type SyncSource, siblingOf } from './sources.js'

/** As JSON: names, and what else the file says. */
const texts = (tensors: ReadonlyMap<string, Tensor>, metadata: Record<string, string>) =>
  [jsonOf([...tensors.keys()]), jsonOf(metadata)] as const

const handlesOf = (tensors: ReadonlyMap<string, Tensor>) =>
  Array.from(tensors.values(), (tensor) => tensor[HANDLE])

/**
 * Named tensors as the bytes of a safetensors file; parameters as they are once the calls made
 * before have ended, and so is what a function gives for the metadata.
 */
export async function writeTensorBytes(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Record<string, string> | (() => Record<string, string>),
): Promise<Uint8Array> {
  const inputs = handlesOf(tensors)
  const start = () => {
    const told = typeof metadata === 'function' ? metadata() : metadata
    const [names, rest] = texts(tensors, told)
    const natives = inputs.map((handle) => handle.pinned())
    return native.writeTensors(names, natives, rest)
  }
  const reads = mergeGates(inputs.map((handle) => handle.valueGates()))
  return ownBytes(await heavy({ reads, writes: NO_GATES, inputs, start }))
}

/** As {@link writeTensorBytes}, at once. */
export function writeTensorBytesSync(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Record<string, string>,
): Uint8Array {
  const natives = handlesOf(tensors).map((handle) => handle.settled('saving'))
  const [names, rest] = texts(tensors, metadata)
  return ownBytes(guarded(() => native.writeTensorsSync(names, natives, rest)))
}

/** The state of an optimizer as the bytes of a file of PyTorch. */
export async function writeOptimizerBytes(
  kind: string,
  tensors: ReadonlyMap<string, Tensor>,
  groups: readonly object[],
): Promise<Uint8Array> {
  const inputs = handlesOf(tensors)
  const names = jsonOf([...tensors.keys()])
  const start = () =>
    native.writeOptimizer(
      kind,
      names,
      inputs.map((handle) => handle.pinned()),
      jsonOf(groups),
    )
  return ownBytes(await heavy({ reads: NO_GATES, writes: NO_GATES, inputs, start }))
}

/** As {@link writeOptimizerBytes}, at once. */
export function writeOptimizerBytesSync(
  kind: string,
  tensors: ReadonlyMap<string, Tensor>,
  groups: readonly object[],
): Uint8Array {
  const natives = handlesOf(tensors).map((handle) => handle.settled('saving'))
  const names = jsonOf([...tensors.keys()])
  return ownBytes(guarded(() => native.writeOptimizerSync(kind, names, natives, jsonOf(groups))))
}

/** What is in a file of tensors, or in several. */
export interface TensorFile {
  /** Of safetensors: what its header says besides. */
  metadata: Record<string, string>
  tensors: Map<string, Tensor>
}

/** A file of tensors, or all files of one checkpoint (with its index, or without). */
export type TensorSource = Source | readonly Source[]

/** As {@link TensorSource}, to be read at once. */
export type SyncTensorSource = SyncSource | readonly SyncSource[]

/** Options of everything that reads tensors from a file. */
export interface TensorReadOptions extends ReadOptions {
  /**
   * Which tensors of a file of PyTorch are read: the key of their dict, such as `ema` of
   * `torch.save({'model': ..., 'ema': ...})`, or a path of keys and places with dots, such as
   * `states.0.model`. The empty string stands for the outer dict.
   *
   * Without it, they are found where that is clear: a tensor alone, or a list of them (their names
   * are `0`, `1` ...); the only dict that has tensors under texts, the outer one or one in it,
   * where numbers as tensors without axes, such as `best_val_loss`, do not count; of several, the
   * only one with a usual name (`model`, `state_dict`, `model_state_dict`, `model_state`, `module`,
   * `net`, `network`, `weights`, `params`, `ema`), if none has more tensors. Everything else is an
   * error (`invalid_checkpoint`) that lists the keys and their tensors.
   */
  key?: string | undefined
}

/** Options that are checked. */
type Reading = TensorReadOptions & { widen?: boolean; optimizer?: boolean }

function settingsOf({ key, widen = false, optimizer = false }: Reading): Settings {
  if (key === undefined || key === null || isText(key))
    return { key: key ?? null, widen, optimizer }
  throw refuse('key', 'a string without halves of surrogate pairs', key)
}

/**
 * Reads the tensors of a file, or of all files of a checkpoint. `widen`: values of half precision
 * become f32. `optimizer`: of a file of PyTorch the state of an optimizer, with its groups in the
 * metadata.
 */
export async function readTensors(
  source: TensorSource,
  options: Reading = {},
): Promise<TensorFile> {
  const settings = settingsOf(options)
  const take = async (reader: NativeReader) => unpack(await reader.tensors())
  if (isList(source)) return await readParts(source, null, settings, options)
  const part = await readSource(source, settings, options, take)
  if (!(part instanceof Index)) return part
  const files = part.names.map((name) => siblingOf(source, name))
  return await readParts(files, part, settings, options)
}

/** As {@link readTensors}, at once. */
export function readTensorsSync(source: SyncTensorSource, options: Reading = {}): TensorFile {
  const settings = settingsOf(options)
  const take = (reader: NativeReader) => unpack(reader.tensorsSync())
  const parts = isList(source) ? source.map((part) => part) : [source]
  const merged = new Merged()
  try {
    for (const part of parts) {
      const file = readSourceSync(part, settings, take)
      if (file instanceof Index && parts.length === 1) {
        parts.push(...file.names.map((name) => siblingOf(part, name) as SyncSource))
      }
      merged.add(file)
    }
    return merged.done()
  } catch (error) {
    merged.dispose()
    throw error
  }
}

/** Whether it is a list of files, which names one at least. */
function isList<S>(source: S | readonly S[]): source is readonly S[] {
  if (!Array.isArray(source)) return false
  if (source.length > 0) return true
  throw new XTransformersError('invalid_argument', 'the list of files to load is empty')
}

/** Reads several files, one after the other; progress is that of all of them. */
async function readParts(
  sources: readonly Source[],
  index: Index | null,
  settings: Settings,
  given: ReadOptions,
): Promise<TensorFile> {
  const progress = watch(checkReading(given))
  const { signal, on_progress } = progress.options
  const merged = new Merged()
  if (index) merged.add(index)
  let before = 0
  try {
    for (const source of sources) {
      let loaded = 0
      const tell = (progress: Progress) => {
        loaded = progress.loaded
        // how many more there are is known only at the end
        on_progress?.({ loaded: before + loaded, total: null })
      }
      const options = { on_progress: tell, ...(signal && { signal }) }
      merged.add(
        await readSource(source, settings, options, async (reader) =>
          unpack(await reader.tensors()),
        ),
      )
      before += loaded
    }
    const file = merged.done()
    on_progress?.({ loaded: before, total: before })
    await progress.told()
    throwIfAborted(signal)
    return file
  } catch (error) {
    merged.dispose()
    throw error
  }
}

/** The tensors of several files. */
class Merged {
  readonly #file: TensorFile = { metadata: {}, tensors: new Map() }
  #index: Index | null = null

  add(part: TensorFile | Index): void {
    if (part instanceof Index) {
      this.#index = part
      return
    }
    // an assignment would take a key `__proto__` for something else
    this.#file.metadata = { ...this.#file.metadata, ...part.metadata }
    const twice: string[] = []
    for (const [name, tensor] of part.tensors) {
      if (this.#file.tensors.has(name)) {
        twice.push(name)
        tensor.dispose()
      } else this.#file.tensors.set(name, tensor)
    }
    if (twice.length === 0) return
    throw new XTransformersError('invalid_checkpoint', `tensor ${twice[0]} is in two of the files`)
  }

  done(): TensorFile {
    this.#index?.check(this.#file.tensors)
    return this.#file
  }

  dispose(): void {
    disposeAll(this.#file.tensors)
  }
}

/** Frees tensors that nobody needs any more. */
export function disposeAll(tensors: ReadonlyMap<string, Tensor>): void {
  for (const tensor of tensors.values()) tensor.dispose()
}

function unpack({ json, tensors }: NativeResult): TensorFile {
  const { metadata, names }: { metadata: Record<string, string>; names: string[] } =
    JSON.parse(json)
  return {
    metadata,
    tensors: new Map(names.map((name, i) => [name, wrap(tensors[i] as NativeTensor)])),
  }
}
