/** The steps for a model and its heads. */
import type { Module } from '../../module/module.js'
import type { Heads } from '../build.js'
import type { Described } from '../describe.js'
import { blocksOf } from '../families/family.js'
import { type Place, weightsOf } from './load.js'
import { stepsOf } from './rules.js'

/** Where the weights of files go, or come from. */
export function placesOf(
  { family, config, plan, found }: Described,
  model: Module,
  heads: Heads,
): Place[] {
  const rules = family.weights(config as never)
  const places = [{ module: model, steps: stepsOf(rules, blocksOf(plan), weightsOf(model)) }]
  const plans = family.heads?.(config as never, found) ?? {}
  for (const [name, head] of Object.entries(heads) as [string, Module][]) {
    const steps = stepsOf(plans[name]?.weights ?? [], 1, weightsOf(head))
    places.push({ module: head, steps })
  }
  return places
}
