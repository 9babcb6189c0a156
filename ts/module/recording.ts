/** What layers compute during calls: the sizes of their outputs, over all models within. */
import { Promises } from '../promises.js'
import type { Parent } from './parents.js'
import { isModule, RECORD, RECORDED } from './submodule.js'
import { walk } from './walk.js'

/** The outputs of a layer. */
export interface Squares {
  /** The sum of the squares of all elements. */
  sum: number
  /** The number of elements. */
  elements: number
}

/** The outputs of layers by their names. */
export type Recorded = ReadonlyMap<string, Squares>

/** Begins or ends that calls record the sizes of the outputs of layers. */
export function recordAll(module: Parent, on: boolean): void {
  walk(module, (parts) => {
    for (const [, part] of parts) if (isModule(part)) part[RECORD](on)
  })
}

/** What was recorded since the last time. */
export async function recordedBy(module: Parent): Promise<Recorded> {
  const within = walk(module, (parts) =>
    parts.flatMap(([name, part]) => (isModule(part) ? [underName(name, part[RECORDED]())] : [])),
  )
  return together(await Promises.all(within))
}

/** What a model within has recorded, by the names that the model around it has for the layers. */
export const underName = async (name: string, recorded: Promise<Recorded>): Promise<Recorded> =>
  new Map([...(await recorded)].map(([layer, squares]) => [`${name}.${layer}`, squares]))

/** A layer may have computed in calls of several models: of the one around it too. */
export function together(all: readonly Recorded[]): Recorded {
  const layers = new Map<string, Squares>()
  for (const [layer, { sum, elements }] of all.flatMap((recorded) => [...recorded])) {
    const before = layers.get(layer) ?? { sum: 0, elements: 0 }
    layers.set(layer, { sum: before.sum + sum, elements: before.elements + elements })
  }
  return layers
}
