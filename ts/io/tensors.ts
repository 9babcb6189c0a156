import { checkOptions } from '../checks.js'
import { checkMetadata, checkNamed, type NamedTensors } from './named.js'
import { saveWeights, saveWeightsSync, type Target } from './sources.js'
import {
  readTensors,
  readTensorsSync,
  type SyncTensorSource,
  type TensorFile,
  type TensorReadOptions,
  type TensorSource,
  writeTensorBytes,
  writeTensorBytesSync,
} from './tensor-files.js'

/**
 * Reads the tensors of a file: safetensors, or a state dict that `torch.save` has written (PyTorch
 * 1.6 or newer; of its pickle nothing is executed). A checkpoint in several files is read by its
 * index, which names those beside it, or as the list of its files.
 *
 * Pieces go straight into the tensors. Only PyTorch's format from a stream or an address is held in
 * memory as a whole, since its directory is at the end.
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
export async function loadTensors(
  source: TensorSource,
  options: TensorReadOptions = {},
): Promise<TensorFile> {
  return await readTensors(
    source,
    checkOptions(options, 'loadTensors()', ['key', 'signal', 'on_progress']),
  )
}

/** As {@link loadTensors}, at once: of paths (Node) or of bytes. */
export function loadTensorsSync(
  source: SyncTensorSource,
  options: Pick<TensorReadOptions, 'key'> = {},
): TensorFile {
  return readTensorsSync(source, checkOptions(options, 'loadTensorsSync()', ['key']))
}

/**
 * Writes named tensors as a safetensors file. Types, shapes and values come back as they are, to
 * the last bit. A name that PyTorch's files have (`.pt`, `.pth`) is refused (`invalid_argument`).
 *
 * @param tensors a Map, or an object
 * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see
 *   {@link Target}
 * @param metadata what the file says besides: strings by name; `format` is `pt` where it is not
 *   given
 * @throws XTransformersError (`file`); (`invalid_argument`) where a name is `__metadata__` or no
 * text that UTF-8 can hold, or where `metadata` has something else than strings: nothing is touched
 * then
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
  await saveWeights(target, () => writeTensorBytes(named, { format: 'pt', ...said }))
}

/** As {@link saveTensors}, at once: to a path (Node). */
export function saveTensorsSync(
  tensors: NamedTensors,
  path: string,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const [named, said] = [checkNamed(tensors), checkMetadata(metadata)]
  saveWeightsSync(path, () => writeTensorBytesSync(named, { format: 'pt', ...said }))
}
