/** Reads the fields of a config.json: all problems in one error, and nothing is guessed. */
import { describeValue, isText } from '../../checks.js'
import { XTransformersError } from '../../errors.js'
import { type Fields, Uncovered, type Values } from './fields.js'

/** A config.json, as `JSON.parse` gives it. */
export type Json = Readonly<Record<string, unknown>>

/** What is wrong with a configuration. */
export class Problems {
  // what two options follow from would be told twice
  readonly #damaged = new Set<string>()
  readonly #uncovered = new Set<string>()

  constructor(
    /** The file, for messages. */
    readonly file = 'config.json',
  ) {}

  /** A value that cannot be. */
  damaged(message: string): void {
    this.#damaged.add(message)
  }

  /** A value that is well formed, and that this package does not compute. */
  uncovered(message: string): void {
    this.#uncovered.add(message)
  }

  /**
   * @throws XTransformersError (`invalid_checkpoint`; `not_available` where nothing is damaged)
   */
  throwIfAny(): void {
    const all = [...this.#damaged, ...this.#uncovered]
    if (all.length === 0) return
    const code = this.#damaged.size > 0 ? 'invalid_checkpoint' : 'not_available'
    const shown = all.slice(0, 20).map((line) => `  ${line}`)
    const more = all.length > 20 ? [`  and ${all.length - 20} more`] : []
    const message = `${this.file} cannot be followed:\n${[...shown, ...more].join('\n')}`
    throw new XTransformersError(code, message)
  }
}

/** The name of a field, for messages. */
export const shownName = (name: string) =>
  isText(name) && name.length <= 80 ? name : describeValue(name)

/** The value of a field, for messages. */
export function shownValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) return describeValue(value)
  try {
    const json = JSON.stringify(value)
    return json.length > 80 ? describeValue(value) : json
  } catch {
    // nested too deeply for the stack
    return describeValue(value)
  }
}

/** Whether nothing is switched on by a value: what a field of other models has. */
export const isOff = (value: unknown) =>
  value === null ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value as object).length === 0)

/** Names of fields that change nothing, as far as they are not read. */
export interface Names {
  has(name: string): boolean
}

/**
 * The values of fields; those that are absent have their defaults.
 *
 * @param idle names of other fields that change nothing
 * @param ignored names of fields that the caller knows to change nothing
 */
export function readFields<F extends Fields>(
  json: Json,
  fields: F,
  { idle, ignored }: { idle?: Names; ignored?: Names },
  problems: Problems,
): Values<F> {
  const values: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(fields)) {
    values[name] = field.fallback
    if (!Object.hasOwn(json, name) || ignored?.has(name)) continue
    const value = field.read(json[name])
    const got = shownValue(json[name])
    if (value instanceof Uncovered)
      problems.uncovered(`${name} is ${got}, which is not covered: ${value.covered}`)
    else if (value === undefined) problems.damaged(`${name} must be ${field.wanted}, got ${got}`)
    else values[name] = value
  }
  for (const [name, value] of Object.entries(json)) {
    if (Object.hasOwn(fields, name) || ignored?.has(name)) continue
    if (isOff(value) || idle?.has(name)) continue
    problems.uncovered(
      `${shownName(name)} is ${shownValue(value)}, which is not covered: where it changes nothing that counts, name it in the option ignore`,
    )
  }
  return values as Values<F>
}
