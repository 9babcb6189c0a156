/** Low-rank updates of the linear layers of all models within one of the user's own. */
import type { Entry, EntrySource } from './entries.js'
import { modulesBelow } from './entries.js'
import type { Parent } from './parents.js'
import {
  CHANGE_LORA,
  CHECK_MERGE,
  ENTRIES,
  isModule,
  LORA_LAYERS,
  type LoRAChange,
  type LoRALayers,
  type Submodule,
} from './submodule.js'
import { walk } from './walk.js'

/** The name of the linear layer that has this weight; empty where the layer is the model itself. */
export const linearName = (weight: string): string => weight.replace(/\.?weight$/, '')

/** A model within, with the names that the layers of a change have there. */
interface Share {
  part: Submodule
  modules: string[]
}

/** The models within that have some of these layers. */
const sharesOf = (module: Parent, modules: readonly string[]): Share[] =>
  walk(module, (parts) =>
    parts.flatMap(([name, part]) => {
      const own = modulesBelow(modules, name)
      return isModule(part) && own.length > 0 ? [{ part, modules: own }] : []
    }),
  )

/**
 * The low-rank updates, those of one rank and one factor together; a layer with several names is
 * told by the first.
 */
export function loraLayersOf(module: Parent & Submodule): LoRALayers[] {
  const within = (name: string) => (layer: string) => (layer === '' ? name : `${name}.${layer}`)
  const layers = walk(module, (parts) =>
    parts.flatMap(([name, part]) =>
      isModule(part)
        ? part[LORA_LAYERS]().map((of) => ({ ...of, modules: of.modules.map(within(name)) }))
        : [],
    ),
  )
  return grouped(layers, module[ENTRIES]())
}

function grouped(layers: readonly LoRALayers[], entries: readonly Entry[]): LoRALayers[] {
  const sources = new Map(
    entries.flatMap(({ name, linear, source }) =>
      linear ? [[linearName(name), source] as const] : [],
    ),
  )
  const seen = new Set<EntrySource | undefined>()
  const groups: LoRALayers[] = []
  for (const { modules, r, scale } of layers) {
    const fresh = modules.filter((name) => !seen.has(sources.get(name)))
    for (const name of fresh) seen.add(sources.get(name))
    const group = groups.find((other) => other.r === r && other.scale === scale)
    if (group) group.modules.push(...fresh)
    else if (fresh.length > 0) groups.push({ modules: fresh, r, scale })
  }
  return groups
}

/** @throws XTransformersError where the updates of these layers could not be merged */
export function checkMerge(module: Parent, modules: readonly string[]): void {
  for (const share of sharesOf(module, modules)) share.part[CHECK_MERGE](share.modules)
}

/**
 * Changes low-rank updates; the names are those of linear layers. After an error there is none of
 * those that were to be added.
 */
export function changeLora(module: Parent, { modules, ...change }: LoRAChange): void {
  const shares = sharesOf(module, modules)
  if (change.to === 'merge') checkMerge(module, modules)
  const done: Share[] = []
  try {
    for (const share of shares) {
      share.part[CHANGE_LORA]({ ...change, modules: share.modules })
      done.push(share)
    }
  } catch (error) {
    if (typeof change.to === 'object')
      for (const { part, modules } of done) part[CHANGE_LORA]({ modules, to: 'remove' })
    throw error
  }
}
