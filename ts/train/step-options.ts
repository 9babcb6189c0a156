/**
 * What a training step is given, checked alike on both sides of a worker: nothing here may need the
 * native side.
 */
import { describeValue, isRecord } from '../checks.js'
import { XTransformersError } from '../errors.js'

/** What a training step tells. */
export interface StepResult {
  /** The loss before the step; the mean over the batches, by their weights. */
  loss: number
  /** The norm of all gradients before clipping; null without `max_grad_norm`. */
  grad_norm: number | null
}

/** An objective apart from its targets, one for each batch. */
export interface CheckedObjective {
  kind: 'cross_entropy' | 'mse'
  targets: readonly unknown[]
  /** Of the cross entropy. */
  options: object
}

/** An error (`invalid_argument`) about an argument of a training step. */
export const wrongStep = (message: string) =>
  new XTransformersError('invalid_argument', `trainStep: ${message}`)

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value)

/**
 * @throws XTransformersError (`invalid_argument`) where these are not the arguments of `forward`
 * for each batch
 */
export function checkBatches(batches: unknown): readonly (readonly unknown[])[] {
  if (isList(batches) && batches.length > 0 && batches.every(isList)) return batches
  throw wrongStep('batches must be the arguments of forward for each batch: [[tokens]]')
}

/** How gradients are limited; null: not at all. */
export interface Clipping {
  max_grad_norm: number | null
  max_grad_value: number | null
}

/** @throws XTransformersError (`invalid_argument`) where one is no number from 0 */
export function checkClipping(norm: unknown, value: unknown): Clipping {
  const check = (max: unknown, name: string) => {
    if (max === undefined || max === null) return null
    if (typeof max === 'number' && max >= 0) return max
    throw wrongStep(`${name} must be a number from 0, got ${describeValue(max)}`)
  }
  return {
    max_grad_norm: check(norm, 'max_grad_norm'),
    max_grad_value: check(value, 'max_grad_value'),
  }
}

/**
 * The share of each of `count` batches in the step, of weights that are given for them; null: all
 * have the same.
 *
 * @throws XTransformersError (`invalid_argument`) where there is not one weight for each batch
 */
export function checkWeights(weights: unknown, count: number): readonly number[] | null {
  if (weights === undefined || weights === null) return null
  const isWeight = (value: unknown) => Number.isFinite(value) && (value as number) >= 0
  if (isList(weights) && weights.length === count && weights.every(isWeight)) {
    const total = (weights as number[]).reduce((a, b) => a + b)
    if (total > 0 && total < Infinity) return (weights as number[]).map((value) => value / total)
  }
  throw wrongStep(
    `weights must be a number from 0 for each of the ${count} batches, not all of them 0, got ${isList(weights) ? `[${weights}]` : describeValue(weights)}`,
  )
}

/**
 * @throws XTransformersError (`invalid_argument`) where there is not one tensor of targets for each
 * of `count` batches
 */
export function checkObjective(objective: unknown, count: number): CheckedObjective | null {
  if (objective === undefined || objective === null) return null
  if (!isRecord(objective))
    throw wrongStep(`objective must be an object, got ${describeValue(objective)}`)
  const kind = 'cross_entropy' in objective ? 'cross_entropy' : 'mse'
  const { [kind]: targets, ...options } = objective
  if (isList(targets) && targets.length === count) return { kind, targets, options }
  throw wrongStep(
    `objective must be { cross_entropy: targets } or { mse: targets } with one tensor of targets for each of the ${count} batches`,
  )
}
