/** The linear layers of a model, and the matrices of their low-rank updates. */
import { XTransformersError } from '../errors.js'
import type { EntrySource } from '../module/entries.js'
import { linearName } from '../module/lora.js'
import type { Module } from '../module/module.js'
import { matching, patternOf } from '../module/patterns.js'
import { ENTRIES, type LoRALayers } from '../module/submodule.js'
import { type CheckedLoRA, scaleOf } from './lora-options.js'

interface LinearLayer {
  /** The first of its names, by which it is told. */
  name: string
  /** `[out, in]` */
  shape: readonly [number, number]
}

/** The linear layers of a model by all of their names. */
export function linearLayers(model: Module): Map<string, LinearLayer> {
  const bySource = new Map<EntrySource, LinearLayer>()
  const layers = new Map<string, LinearLayer>()
  for (const { name: weight, linear, tied, shape, source } of model[ENTRIES]()) {
    if (!linear || tied !== null) continue
    const [out = 0, inputs = 0] = shape
    const name = linearName(weight)
    const layer = bySource.get(source) ?? { name, shape: [out, inputs] }
    bySource.set(source, layer)
    layers.set(name, layer)
  }
  return layers
}

/**
 * What options say of the layers of a model.
 *
 * @throws XTransformersError (`invalid_argument`) where a pattern fits no linear layer
 */
export function chosenLayers(model: Module, options: CheckedLoRA): LoRALayers {
  const layers = linearLayers(model)
  const found = options.target_modules.flatMap((wire) =>
    matching([...layers.keys()], patternOf(wire), 'linear layer'),
  )
  const chosen = new Set(found.map((name) => layers.get(name)))
  const modules = [...layers].flatMap(([name, layer]) =>
    name === layer.name && chosen.has(layer) ? name : [],
  )
  return { modules, r: options.r, scale: scaleOf(options) }
}

/** The names by which these layers are told, in the order of the model. */
export function firstNames(model: Module, modules: readonly string[]): string[] {
  const layers = linearLayers(model)
  const named = new Set(modules.map((name) => layers.get(name)?.name))
  return [...layers.keys()].filter((name) => named.has(name))
}

const matrixNames = (layer: string): [a: string, b: string] =>
  layer === ''
    ? ['lora_A.weight', 'lora_B.weight']
    : [`${layer}.lora_A.weight`, `${layer}.lora_B.weight`]

/** The names of the matrices of layers. */
export const namesOfMatrices = (modules: readonly string[]): ReadonlySet<string> =>
  new Set(modules.flatMap(matrixNames))

/**
 * The shapes of the matrices of layers by their names.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where the model has no such layers
 */
export function shapesOfMatrices(
  model: Module,
  { modules, r }: { readonly modules: readonly string[]; readonly r: number },
): Map<string, readonly number[]> {
  const layers = linearLayers(model)
  const none = modules.filter((name) => !layers.has(name))
  if (none.length > 0) throw notThere(none, [...layers.keys()])
  return new Map(
    modules.flatMap((name) => {
      const [a, b] = matrixNames(name)
      const [out = 0, inputs = 0] = layers.get(name)?.shape ?? []
      return [
        [a, [r, inputs]],
        [b, [out, r]],
      ] as const
    }),
  )
}

/** So many names are told in an error. */
const TOLD = 8

const listed = (names: readonly string[]) =>
  names.length > TOLD
    ? `${names.slice(0, TOLD).join(', ')}, and ${names.length - TOLD} more`
    : names.join(', ')

const notThere = (none: readonly string[], there: readonly string[]) =>
  new XTransformersError(
    'invalid_checkpoint',
    `the file has updates of layers that this model does not have: ${listed(none)}; the model has ${listed(there) || 'no linear layers'}`,
  )
