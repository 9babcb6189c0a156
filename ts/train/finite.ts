import { XTransformersError } from '../errors.js'
import type { Module } from '../module/module.js'
import { tidy } from '../tensor/memory.js'
import type { RunPlace } from './engine.js'
import type { StepResult } from './step-options.js'

/** So many gradients are named. */
const NAMED = 5

/**
 * Checks the loss and the norm of the gradients of a step, before the weights change.
 *
 * @throws XTransformersError (`not_finite`)
 */
export function requireFinite(
  model: Module,
  { loss, grad_norm }: StepResult,
  { step, last_checkpoint }: RunPlace,
): void {
  if (Number.isFinite(loss) && Number.isFinite(grad_norm)) return
  const what = Number.isFinite(loss)
    ? `the norm of the gradients is ${grad_norm}`
    : `the loss is ${loss}`
  const largest = largestGradients(model)
    .map(({ name, norm }) => `${name} (${norm.toPrecision(3)})`)
    .join(', ')
  const checkpoint = last_checkpoint
    ? `The last checkpoint is ${last_checkpoint}.`
    : 'There is no checkpoint.'
  throw new XTransformersError(
    'not_finite',
    `${what} at step ${step}, and the weights are those before it: lower the learning rate, clip the gradients, or look at the data. The largest gradients: ${largest || 'none'}. ${checkpoint}`,
  )
}

/** The largest norms of gradients; those that are not finite come first. */
function largestGradients(model: Module): { name: string; norm: number }[] {
  const norms = [...model.namedParameters()].flatMap(([name, { grad }]) => {
    if (grad === null) return []
    return [{ name, norm: tidy(() => Number(grad.mul(grad).sum().sqrt().item())) }]
  })
  const order = (norm: number) => (Number.isFinite(norm) ? norm : Number.MAX_VALUE)
  return norms.sort((a, b) => order(b.norm) - order(a.norm)).slice(0, NAMED)
}
