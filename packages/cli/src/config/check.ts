/** Checks a configuration, with every problem in one error. */
import * as v from 'valibot'
import { closest } from '../closest.js'
import { UsageError } from '../errors.js'
import { type Config, ConfigSchema, type ModelConfig, ModelSchema } from './schema.js'

type Schema = {
  readonly type: string
  readonly entries?: Readonly<Record<string, Schema>>
  readonly wrapped?: Schema
  readonly options?: readonly Schema[]
}

/** The names that an object may have, of whichever of its alternatives. */
function namesOf(schema: Schema | undefined): Readonly<Record<string, Schema>> {
  if (schema === undefined) return {}
  if (schema.entries) return schema.entries
  if (schema.wrapped) return namesOf(schema.wrapped)
  if (!Array.isArray(schema.options)) return {}
  return Object.assign({}, ...schema.options.map((option) => namesOf(option as Schema)))
}

/** The names that may stand where a path ends. */
function namesAt(root: v.GenericSchema, path: readonly unknown[]): string[] {
  let schema: Schema | undefined = root as unknown as Schema
  for (const key of path) schema = namesOf(schema)[String(key)]
  return Object.keys(namesOf(schema))
}

/** A value, for messages. */
export const shown = (value: unknown) => JSON.stringify(value) ?? String(value)

/** One problem in words. */
function describeIssue(root: v.GenericSchema, issue: v.BaseIssue<unknown>): string[] {
  // of several alternatives, the one that fits best has the fewest problems
  const inner = (issue.issues ?? []) as v.BaseIssue<unknown>[]
  if (issue.type === 'union' && inner.some(({ path }) => path)) {
    const own = issue.path ?? []
    return inner
      .filter(({ path }) => path && path.at(-1)?.key !== 'type')
      .map((one) => ({ ...one, path: [...own, ...(one.path ?? [])] }))
      .flatMap((one) => describeIssue(root, one as never))
  }
  const keys = (issue.path ?? []).map(({ key }) => key)
  const path = keys.join('.')
  const name = String(keys.at(-1))
  if (issue.expected === 'never') {
    const known = namesAt(root, keys.slice(0, -1))
    const near = closest(name, known)
    const hint = near ? `did you mean ${near}?` : `there is: ${known.join(', ')}`
    return [`${path}: is not known here; ${hint}`]
  }
  if (issue.received === 'undefined') return [`${path}: is required`]
  return [`${path || 'it'}: must be ${wanted(issue)}, got ${shown(issue.input)}`]
}

const KINDS: Readonly<Record<string, string>> = {
  integer: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  strict_object: 'an object',
  loose_object: 'an object',
  array: 'a list',
}

function wanted({ type, expected }: v.BaseIssue<unknown>): string {
  const words = KINDS[type] ?? expected ?? type
  return words.replace(/^>=/, 'at least ').replace(/^>/, 'above ').replace(/^</, 'below ')
}

function check<const S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  where: string,
): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, value)
  if (success) return output
  const lines = [...new Set(issues.flatMap((issue) => describeIssue(schema, issue)))]
  throw new UsageError(`${where}:\n${lines.map((line) => `  ${line}`).join('\n')}`)
}

/**
 * A configuration with its defaults.
 *
 * @param where what it is called in errors
 */
export const checkConfig = (value: unknown, where: string): Config =>
  check(ConfigSchema, value, where)

/** The model of a configuration, which may be a model alone: `config` is null then. */
export function checkModel(
  value: unknown,
  where: string,
): { model: ModelConfig; config: Config | null } {
  const alone = typeof value === 'object' && value !== null && 'class' in value
  if (alone) return { model: check(ModelSchema, value, where), config: null }
  const config = checkConfig(value, where)
  return { model: config.model, config }
}
