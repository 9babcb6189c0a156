/** How a state dict fits a model. */
import { checkFlag, checkOptions, describeValue, isMap, isRecord, refuse } from '../checks.js'
import { shortened, XTransformersError } from '../errors.js'
import { Tensor } from '../tensor/tensor.js'
import type { WeightsDialect } from './dialects/dialect.js'
import { checkDialect } from './dialects/dialect.js'
import type { Entry, StateDict } from './entries.js'
import { findPrefix } from './prefix.js'

/** A tensor of another shape than the model's. */
export interface Mismatch {
  /** As the model names it. */
  name: string
  /** The shape in the model. */
  expected: number[]
  /** The shape in the state dict. */
  got: number[]
}

/** What {@link Module.loadStateDict} and {@link Module.loadWeights} give. */
export interface LoadResult {
  /** Names of the model that were not given. Those keep their values. */
  missing: string[]
  /** Names that were given, and that the model does not have. */
  unexpected: string[]
  /**
   * Tensors of another shape than the model needs; only with `strict: false`, where they are left
   * out.
   */
  mismatched: Mismatch[]
  /** What was taken off the beginning of every name, such as `module.`; null for nothing. */
  prefix: string | null
}

/** Options of {@link Module.loadStateDict}. */
export interface LoadStateOptions {
  /**
   * Whether missing, unexpected and mis-shaped names are an error, and nothing is changed; else
   * they are reported.
   *
   * @default true
   */
  strict?: boolean | undefined
  /**
   * What the names begin with that the model's do not, such as `model.` (Lightning). By default
   * `module.` (DataParallel), `net.` (a wrapper around this model) and `_orig_mod.` (torch.compile)
   * are found by themselves, where every name has them and none fits without.
   */
  prefix?: string | undefined
  /**
   * Which package the names and values are of, if not of x-transformers 1.9.2 or this one:
   * `'x-transformers-2'`, for a model whose options are those that it has in x-transformers 2.
   */
  dialect?: WeightsDialect | undefined
}

/** Checks the options of everything that loads a state dict. `others`: what else there is. */
export function checkStateOptions<T extends LoadStateOptions>(
  options: T,
  what: string,
  others: readonly string[] = [],
): T {
  const own = checkOptions(options, what, ['strict', 'prefix', 'dialect', ...others])
  checkFlag(own.strict, 'strict', true)
  checkDialect(own.dialect)
  const { prefix } = own
  if (prefix === undefined || prefix === null || typeof prefix === 'string') return own
  throw refuse('prefix', 'a string', prefix)
}

/** Tensors by name: a Map of whichever realm, or an object. */
export function checkNamedTensors(given: unknown, what: string): ReadonlyMap<string, unknown> {
  const pairs = isMap(given) ? [...given] : isRecord(given) ? Object.entries(given) : null
  if (pairs === null) throw refuse(what, 'a Map or an object of tensors by name', given)
  for (const [name] of pairs)
    if (typeof name !== 'string') throw refuse(`a name in ${what}`, 'a string', name)
  return new Map(pairs as [string, unknown][])
}

/** Checks a state dict; its tensors are checked when they are fitted. */
export const checkState = (state: unknown) =>
  checkNamedTensors(state, 'the state dict') as StateDict

/** @throws XTransformersError (`invalid_checkpoint`) where one is no tensor */
export function checkTensors(state: StateDict): void {
  fitState(state, [], { strict: false })
}

/** What goes into the model, and what is told about the rest. */
export interface Fitted {
  known: StateDict
  result: LoadResult
}

const list = (lines: string[]) => lines.map((line) => `  ${line}`).join('\n')

/**
 * Finds for each tensor its place in the model.
 *
 * @param others names of tensors that are known to have none
 * @throws XTransformersError (`invalid_checkpoint`) with every problem
 */
export function fitState(
  state: StateDict,
  lines: readonly Entry[],
  options: LoadStateOptions,
  others: readonly string[] = [],
): Fitted {
  const { strict, prefix: wanted } = options
  const entries = new Map(lines.map((entry) => [entry.name, entry]))
  const prefix = wanted ?? findPrefix([...state.keys()], entries)
  const known = new Map<string, Tensor>()
  const wrong: string[] = []
  const result: LoadResult = {
    missing: [],
    unexpected: [...others],
    mismatched: [],
    prefix: prefix || null,
  }
  for (const [given, value] of state) {
    const name = given.slice(prefix.length)
    const entry = given.startsWith(prefix) ? entries.get(name) : undefined
    if (!(value instanceof Tensor))
      wrong.push(`${given} must be a Tensor, got ${describeValue(value)}`)
    else if (!entry) result.unexpected.push(given)
    else if (String(entry.shape) === String(value.shape)) known.set(name, value)
    else result.mismatched.push({ name, expected: [...entry.shape], got: [...value.shape] })
  }
  const shaped = new Set(result.mismatched.map(({ name }) => name))
  result.missing = [...entries.keys()].filter((name) => !known.has(name) && !shaped.has(name))
  const problems = (strict ?? true) ? [...wrong, ...problemsOf(result)] : wrong
  if (problems.length === 0) return { known, result }
  throw new XTransformersError(
    'invalid_checkpoint',
    `the state dict does not fit this model:\n${list(problems)}`,
  )
}

const problemsOf = ({ missing, unexpected, mismatched }: LoadResult): string[] => [
  ...shortened(
    mismatched.map(
      ({ name, expected, got }) => `${name} has shape [${got}], the model needs [${expected}]`,
    ),
  ),
  ...shortened(missing.map((name) => `${name} is missing`)),
  ...shortened(unexpected.map((name) => `${name} is not in this model`)),
]
