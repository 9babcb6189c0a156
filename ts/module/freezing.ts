import { GATES } from '../symbols.js'
import { NO_GATES, scheduleSync } from '../tensor/schedule.js'
import { matching, type NamePattern } from './patterns.js'
import { ENTRIES, type Submodule } from './submodule.js'

/** Freezes or thaws parameters by name; the names of those that were not so before. */
export function setRequiresGrad(module: Submodule, pattern: NamePattern, on: boolean): string[] {
  const entries = module[ENTRIES]().filter(({ kind }) => kind === 'parameter')
  const names = new Set(
    matching(
      entries.map(({ name }) => name),
      pattern,
    ),
  )
  const meant = new Set(entries.flatMap(({ name, source }) => (names.has(name) ? source : [])))
  const what = on ? 'unfreeze()' : 'freeze()'
  return scheduleSync(what, NO_GATES, module[GATES](), () => {
    const changed: string[] = []
    for (const { name, source } of entries) {
      const parameter = source.tensor()
      if (!meant.has(source) || parameter.requires_grad === on) continue
      parameter.requires_grad = on
      changed.push(name)
    }
    return changed
  })
}
