/** What layers compute during calls: the sizes of their outputs, over all models within. */
import type { NativeResult } from '../native/native.js'
import { Promises } from '../promises.js'
import { tidy } from '../tensor/memory.js'
import { wrap } from '../tensor/tensor.js'
import type { Parent } from './parents.js'
import { isModule, RECORD, RECORDED, type Recorded, type Squares } from './submodule.js'
import { walk } from './walk.js'

/** What layers have given, as the native side tells it. */
export function recordedIn({ json, tensors }: NativeResult): Recorded {
  const names = JSON.parse(json) as [name: string, elements: number][]
  return tidy(() => {
    const [means] = tensors.map((tensor) => wrap(tensor).dataSync())
    return new Map(
      names.map(([name, elements], i) => [name, { sum: Number(means?.[i]) * elements, elements }]),
    )
  })
}

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
