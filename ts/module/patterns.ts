/**
 * Names of parameters by pattern, on both sides of a worker: nothing here may need the native side.
 */
import { describeValue, refuse, tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'

/**
 * Which names are meant: a text in which `*` stands for any characters, dots too, and `?` for one,
 * and which is all of the name; or a regular expression, which is found in it.
 */
export type NamePattern = string | RegExp

/** A pattern as plain data, for messages to a worker. */
export type WirePattern = string | { source: string; flags: string }

const isRegExp = (value: unknown): value is RegExp => tagOf(value) === 'RegExp'

/** @throws XTransformersError (`invalid_argument`) where it is no pattern */
export function checkPattern(pattern: unknown): WirePattern {
  if (typeof pattern === 'string' && pattern !== '') return pattern
  if (isRegExp(pattern)) {
    // the search for names does not go on where another one has ended
    const { source, flags } = pattern
    return { source, flags: flags.replace(/[gy]/g, '') }
  }
  throw refuse('a pattern of names', "a text such as 'encoder.*', or a RegExp", pattern)
}

/** The pattern of a message. */
export const patternOf = (wire: WirePattern): NamePattern =>
  typeof wire === 'string' ? wire : new RegExp(wire.source, wire.flags)

/** So many names are told in an error. */
const TOLD = 8

/**
 * The names that a pattern is for. `kind`: what they are names of, for errors.
 *
 * @throws XTransformersError (`invalid_argument`) where it is no pattern, or there is no such name
 */
export function matching(
  names: readonly string[],
  given: NamePattern,
  kind = 'parameter',
): string[] {
  const pattern = patternOf(checkPattern(given))
  const found = names.filter((name) =>
    typeof pattern === 'string' ? fits(pattern, name) : pattern.test(name),
  )
  if (found.length > 0) return found
  const told = names.slice(0, TOLD).join(', ')
  const more = names.length > TOLD ? `, and ${names.length - TOLD} more` : ''
  const what = typeof given === 'string' ? describeValue(given) : String(pattern)
  throw new XTransformersError(
    'invalid_argument',
    `no ${kind} has a name like ${what}; there are ${told || 'none'}${more}`,
  )
}

/** Whether all of `name` fits `glob`: goes back to the last `*` alone, which is enough. */
function fits(glob: string, name: string): boolean {
  let [at, from, star, mark] = [0, 0, -1, 0]
  while (from < name.length) {
    if (glob[at] === '*') {
      star = at++
      mark = from
    } else if (at < glob.length && (glob[at] === '?' || glob[at] === name[from])) {
      at++
      from++
    } else if (star >= 0) {
      at = star + 1
      from = ++mark
    } else return false
  }
  while (glob[at] === '*') at++
  return at === glob.length
}
