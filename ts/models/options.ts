import { native } from '#native'
import { checkOptions } from '../checks.js'
import { guarded } from '../errors.js'
import { encode } from './encode.js'

/**
 * As JSON, before the native side is called: what a getter of the caller's throws reaches the
 * caller as it is.
 */
const json = (name: string, options: object | null | undefined) =>
  encode(checkOptions(options, name)).json

/**
 * The options of a class or function, checked, with the defaults of those that are not given.
 *
 * @throws XTransformersError (`invalid_options`) with every problem
 */
export function resolveOptions<T extends object>(name: string, options: T): Required<T> {
  const given = json(name, options)
  return JSON.parse(guarded(() => native.resolveOptions(name, given)))
}

/**
 * The settings of each parameter group: its own, else the `common` ones, else the defaults. Errors
 * as for {@link resolveOptions}.
 */
export const resolveGroups = <T extends object>(
  name: string,
  common: T,
  groups: readonly T[],
): Required<T>[] => JSON.parse(groupsResolver(name)(common, groups))

/**
 * {@link resolveGroups} as JSON, for one optimizer. Its last answer is kept: every step asks for
 * the settings, and they seldom change between two.
 */
export function groupsResolver(
  name: string,
): (common: object, groups: readonly object[]) => string {
  let asked = ''
  let answer = ''
  return (common, groups) => {
    const given = json(name, common)
    const own = `[${groups.map((group, i) => json(`${name}, param_groups[${i}]`, group)).join()}]`
    const question = `${given} ${own}`
    if (question !== asked) {
      answer = guarded(() => native.resolveGroups(name, given, own))
      asked = question
    }
    return answer
  }
}
