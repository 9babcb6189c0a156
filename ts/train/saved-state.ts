/**
 * States of optimizers in the forms that PyTorch gives them: what of them is ours, and what would
 * change results.
 */
import { describeValue, isMap, isRecord, isText } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { disposeAll } from '../io/tensor-files.js'
import { full } from '../tensor/creation.js'
import { checkTensor, Tensor } from '../tensor/tensor.js'

/** Settings of a group in {@link OptimizerState}: its parameters are known by their place. */
export type SavedGroup<Options> = Options & { params: number[] }

/** What an optimizer knows beyond the parameters. */
export interface OptimizerState<Options = Record<string, unknown>> {
  param_groups: SavedGroup<Options>[]
  /**
   * By name: `INDEX.exp_avg`, `INDEX.exp_avg_sq`, `INDEX.step`, `INDEX.momentum_buffer`,
   * `INDEX.row_var`, `INDEX.col_var`, `INDEX.variance`, with the parameter's place.
   */
  state: Map<string, Tensor>
}

/**
 * What is kept of one parameter, as PyTorch has it: `exp_avg`, `exp_avg_sq`, `step` or
 * `momentum_buffer`.
 */
export type ParameterState = Readonly<Record<string, Tensor | number | null>>

/**
 * As {@link OptimizerState}, with the state of each parameter under its number, as PyTorch's
 * `state_dict()` has it.
 */
export interface PyTorchState {
  param_groups: readonly (Readonly<Record<string, unknown>> & { params: readonly number[] })[]
  state: ReadonlyMap<number, ParameterState> | Readonly<Record<number, ParameterState>>
}

/** An error of a state that does not fit. */
export const wrongState = (message: string) => new XTransformersError('invalid_checkpoint', message)
const otherResults = (message: string) => new XTransformersError('not_available', message)

/** Settings of PyTorch's groups that change how it computes, and not what. */
const WITHOUT_EFFECT = [
  'foreach',
  'fused',
  'capturable',
  'differentiable',
  'initial_lr',
  'param_names',
]
/** Those that change results where they are true. */
const UNKNOWN_HERE = ['amsgrad', 'maximize']

/** The settings of a group that are ours; the others are an error where they change results. */
export function ownSettings(kind: string, group: object, place: number): Record<string, unknown> {
  const own: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(group)) {
    const path = `param_groups[${place}].${name}`
    if (UNKNOWN_HERE.includes(name) && value) {
      throw otherResults(
        `${path} is true in this state, which the ${kind} of this package does not have`,
      )
    }
    if (name === 'decoupled_weight_decay' && Boolean(value) !== (kind === 'AdamW')) {
      const [saved, other] = value ? ['AdamW', 'Adam'] : ['Adam', 'AdamW']
      throw wrongState(`this is the state of ${saved}, not of ${other} (${path} is ${value})`)
    }
    if ([...WITHOUT_EFFECT, ...UNKNOWN_HERE, 'decoupled_weight_decay', 'params'].includes(name))
      continue
    // PyTorch's Muon has null for its default
    own[name] = name === 'adjust_lr_fn' ? (value ?? 'original') : value
  }
  return own
}

/**
 * Numbers in place of tensors of one element, which PyTorch has for `lr` and `betas` where they are
 * compiled.
 */
function withoutTensors(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutTensors)
  const single = value instanceof Tensor && value.shape.every((length) => length === 1)
  return single ? Number(value.item()) : value
}

/**
 * Whether a state is one of PyTorch's: parameters stand there by number, or groups have what ours
 * have not.
 */
function isTorch(state: unknown, groups: readonly object[]): boolean {
  const theirs = [...WITHOUT_EFFECT, ...UNKNOWN_HERE, 'decoupled_weight_decay']
  const keys = isMap(state) ? [...state.keys()] : isRecord(state) ? Object.keys(state) : []
  return (
    keys.some((key) => !String(key).includes('.')) ||
    groups.some((group) => theirs.some((name) => name in group))
  )
}

/**
 * The settings that groups of a state have of ours. What else is in those of PyTorch, such as the
 * `name` of a group, is left out as it is of a file; in ours it is a slip. `known`: the names of
 * our settings.
 */
export function settingsGiven(
  kind: string,
  groups: readonly object[],
  state: unknown,
  known: readonly string[],
): Record<string, unknown>[] {
  const torch = isTorch(state, groups)
  return groups.map((group, i) => {
    const plain = Object.entries(group).map(([name, value]) => [name, withoutTensors(value)])
    const own = Object.entries(ownSettings(kind, Object.fromEntries(plain), i))
    return Object.fromEntries(own.filter(([name]) => !torch || known.includes(name)))
  })
}

/** The groups of a state, which must be as many and as large as those of the optimizer. */
export function checkGroups(
  groups: unknown,
  sizes: readonly number[],
): readonly { params: readonly unknown[] }[] {
  const list: { params?: unknown }[] = Array.isArray(groups) ? groups : []
  const saved = list.map((group) => (Array.isArray(group?.params) ? group.params.length : -1))
  if (Array.isArray(groups) && String(saved) === String(sizes) && saved.length === sizes.length)
    return groups
  throw wrongState(
    `the state is of an optimizer with other groups of parameters: theirs have [${saved}], those of this one [${sizes}]`,
  )
}

type Entries = [key: unknown, value: unknown][]

/** Of a Map, whatever realm it is of, or of an object. */
function entriesOf(value: unknown, what: string): Entries {
  if (isMap(value)) return [...value.entries()]
  if (isRecord(value)) return Object.entries(value)
  throw wrongState(`${what} must be an object or a Map, got ${describeValue(value)}`)
}

/** `INDEX.FIELD` and the value, of both forms. */
function flatten(state: unknown): [name: string, value: unknown][] {
  return entriesOf(state, 'the state').flatMap(([key, value]) => {
    if (String(key).includes('.')) return [[String(key), value] as [string, unknown]]
    const fields = entriesOf(value, `the state of parameter ${String(key)}`)
    return fields.map(([field, part]): [string, unknown] => [
      `${String(key)}.${String(field)}`,
      part,
    ])
  })
}

/** Tensors by `PLACE.FIELD`, and those of them that were made for plain numbers. */
export interface Placed {
  tensors: Map<string, Tensor>
  made: Map<string, Tensor>
}

/**
 * The state of each parameter under its place: numbers in `params` stand for the places that they
 * have there, as in PyTorch.
 */
export function placed(state: unknown, groups: readonly { params: readonly unknown[] }[]): Placed {
  const places = new Map(
    groups.flatMap(({ params }) => params).map((id, place) => [String(id), place]),
  )
  const result: Placed = { tensors: new Map(), made: new Map() }
  try {
    for (const [name, value] of flatten(state)) {
      const dot = name.indexOf('.')
      const place = places.get(name.slice(0, dot))
      if (place === undefined)
        throw wrongState(`\`${name}\` is the state of a parameter that no group has`)
      if (value === null || value === undefined) continue
      if (!isText(name))
        throw wrongState(
          `${describeValue(name)} is no name of an average: it has half of a surrogate pair`,
        )
      const own = `${place}${name.slice(dot)}`
      if (typeof value === 'number') result.made.set(own, full([], value, { dtype: 'f64' }))
      result.tensors.set(
        own,
        result.made.get(own) ?? checkTensor(value, `\`${name}\` of the state`),
      )
    }
    return result
  } catch (error) {
    disposeAll(result.made)
    throw error
  }
}
