/** States of optimizers as files, of this package and of PyTorch. */
import { checkOptions, refuse } from '../checks.js'
import type { ReadOptions } from '../control.js'
import { XTransformersError } from '../errors.js'
import { torchName } from '../io/sources.js'
import {
  disposeAll,
  type TensorFile,
  writeOptimizerBytes,
  writeOptimizerBytesSync,
  writeTensorBytes,
  writeTensorBytesSync,
} from '../io/tensor-files.js'
import { jsonOf } from '../native/json.js'
import { type OptimizerState, ownSettings, type SavedGroup, wrongState } from './saved-state.js'

/**
 * How the state of an optimizer is written: as safetensors, or as
 * `torch.save(optimizer.state_dict(), path)` does.
 */
export type StateFormat = 'safetensors' | 'torch'

/** Options of all that saves the state of an optimizer. */
export interface StateSaveOptions {
  /**
   * What is written. `torch`: what `torch.load(path, weights_only=True)` reads, and
   * `load_state_dict` of PyTorch's optimizer of the same name takes. By default that for names that
   * end in `.pt`, `.pth`, `.bin` or `.ckpt`, and `safetensors` for all else.
   */
  format?: StateFormat | undefined
}

/** Options of `Optimizer.load`. */
export interface StateReadOptions extends ReadOptions {
  /**
   * Which of several states in a file of PyTorch: the key of the dict, such as `optimizer`, or a
   * path of keys and places with dots, such as `optimizer_states.0`. Without it, the only one is
   * taken.
   */
  key?: string | undefined
}

const FORMATS: readonly StateFormat[] = ['safetensors', 'torch']

/** The format of what is saved to a target. */
export function formatOf(target: unknown, options: StateSaveOptions = {}): StateFormat {
  const { format } = checkOptions(options, 'saving', ['format'])
  if (format !== undefined && format !== null) {
    if (FORMATS.includes(format)) return format
    throw refuse('format', FORMATS.join(' or '), format)
  }
  return torchName(target) === null ? 'safetensors' : 'torch'
}

/** What a safetensors file says beside the tensors. */
const metadataOf = (kind: string, groups: readonly object[]) => ({
  optimizer: kind,
  param_groups: jsonOf(groups),
})

/** The bytes of a file with a state, whose tensors are freed then. */
export async function writeState(
  format: StateFormat,
  kind: string,
  { param_groups: groups, state }: OptimizerState<object>,
): Promise<Uint8Array> {
  try {
    if (format === 'torch') return await writeOptimizerBytes(kind, state, groups)
    return await writeTensorBytes(state, metadataOf(kind, groups))
  } finally {
    disposeAll(state)
  }
}

/** As {@link writeState}, at once. */
export function writeStateSync(
  format: StateFormat,
  kind: string,
  { param_groups: groups, state }: OptimizerState<object>,
): Uint8Array {
  try {
    if (format === 'torch') return writeOptimizerBytesSync(kind, state, groups)
    return writeTensorBytesSync(state, metadataOf(kind, groups))
  } finally {
    disposeAll(state)
  }
}

/** Settings of Muon that are about its groups for AdamW, which PyTorch's has not. */
const OF_ADAMW_GROUPS = ['use_muon', 'betas']

/** Settings in a file of PyTorch: those with the names of `known`, each of which must be there. */
function settingsIn(
  kind: string,
  group: object,
  place: number,
  known: readonly string[],
): Record<string, unknown> {
  const own = ownSettings(kind, group, place)
  // by what their groups have not, the optimizers with other rules are told from ours
  const needed = kind === 'Muon' ? known.filter((name) => !OF_ADAMW_GROUPS.includes(name)) : known
  const missing = [...needed, ...(kind === 'Adam' || kind === 'AdamW' ? ['amsgrad'] : [])].filter(
    (name) => !(name in group),
  )
  if (missing.length === 0) return Object.fromEntries(needed.map((name) => [name, own[name]]))
  throw wrongState(
    `this is the state of another optimizer than ${kind}: param_groups[${place}] has no ${missing.join(' and no ')}`,
  )
}

/** The names of settings that are tensors begin so. */
const GROUPS = 'param_groups.'

/**
 * The state of an optimizer in a file, of this package or of PyTorch.
 *
 * @param known the names of the settings of this package
 * @throws XTransformersError (`invalid_checkpoint`) where it is of another optimizer or damaged
 */
export function stateInFile(
  kind: string,
  file: TensorFile,
  known: readonly string[],
): OptimizerState<object> {
  const { metadata, tensors } = file
  const { optimizer, param_groups } = metadata
  if (optimizer === 'torch') return stateOfPyTorch(kind, file, known)
  if (optimizer === kind && param_groups !== undefined)
    return { param_groups: parseGroups(param_groups), state: tensors }
  const found = optimizer ? `that of ${optimizer}` : 'no optimizer state'
  throw new XTransformersError('invalid_checkpoint', `this is ${found}, not the state of ${kind}`)
}

function stateOfPyTorch(
  kind: string,
  { metadata, tensors }: TensorFile,
  known: readonly string[],
): OptimizerState<object> {
  const plain = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(plain)
    const name = (value as { $tensor?: string } | null)?.$tensor
    return name === undefined ? value : Number(tensors.get(name)?.item())
  }
  const groups = parseGroups(metadata.param_groups).map(({ params, ...group }, i) => {
    const settings = settingsIn(kind, group, i, known)
    return {
      ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, plain(value)])),
      params,
    }
  })
  return {
    param_groups: groups,
    state: new Map([...tensors].filter(([name]) => !name.startsWith(GROUPS))),
  }
}

function parseGroups(json: string | undefined): SavedGroup<object>[] {
  try {
    return JSON.parse(json ?? '')
  } catch (error) {
    throw new XTransformersError(
      'invalid_checkpoint',
      'the settings in this file are damaged',
      [],
      { cause: error },
    )
  }
}
