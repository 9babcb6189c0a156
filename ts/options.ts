import { native } from '#native'
import { encode } from './encode.js'
import { guarded } from './errors.js'

const json = (options: unknown) => encode(options ?? {}).json

/**
 * The options of a class or function, checked, with the defaults of those that are not given.
 *
 * @throws XTransformersError (`invalid_options`) with every problem
 */
export function resolveOptions<T extends object>(name: string, options: T): Required<T> {
  return JSON.parse(guarded(() => native.resolveOptions(name, json(options))))
}

/** The settings of each parameter group: its own, else the `common` ones, else the defaults. Errors as for {@link resolveOptions}. */
export function resolveGroups<T extends object>(name: string, common: T, groups: readonly T[]): Required<T>[] {
  return JSON.parse(guarded(() => native.resolveGroups(name, json(common), json(groups))))
}
