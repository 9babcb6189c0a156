import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type {
  ConstantOptions,
  CosineWarmupOptions,
  LinearWarmupOptions,
} from '../models/options.gen.js'
import { resolveOptions } from '../models/options.js'

/**
 * The learning rate of a step, counted from 0. Anything but a number from 0 is an error
 * (`invalid_argument`).
 */
export type Schedule = (step: number) => number

/** The rate in the warm-up, of which a fraction may be left at its last step. */
const rising = (lr: number, step: number, steps: number) => Math.min(lr, (lr * (step + 1)) / steps)

/** A schedule that refuses what is no step. */
function of(rate: Schedule): Schedule {
  return (step) => {
    if (typeof step === 'number' && Number.isFinite(step) && step >= 0) return rate(step)
    throw new XTransformersError(
      'invalid_argument',
      `a step is a number from 0, got ${describeValue(step)}`,
    )
  }
}

/**
 * The same rate at every step.
 *
 * @example
 * optimizer.lr = constant({ lr: 3e-4 })(step)
 */
export function constant(options: ConstantOptions): Schedule {
  const { lr } = resolveOptions('constant', options)
  return of(() => lr)
}

/** A rate that grows evenly over the warm-up, `lr * (step + 1) / warmup_steps`, and then stays. */
export function linearWarmup(options: LinearWarmupOptions): Schedule {
  const { lr, warmup_steps } = resolveOptions('linearWarmup', options)
  return of((step) => (step < warmup_steps ? rising(lr, step, warmup_steps) : lr))
}

/**
 * A rate that grows evenly over the warm-up and then falls along half a cosine to `min_lr` (0 by
 * default) at `total_steps`, where it stays.
 *
 * @example
 * const schedule = cosineWarmup({ lr: 3e-3, warmup_steps: 40, total_steps: 1000, min_lr: 6e-5 })
 * optimizer.lr = schedule(step)
 */
export function cosineWarmup(options: CosineWarmupOptions): Schedule {
  const { lr, warmup_steps, total_steps, min_lr } = resolveOptions('cosineWarmup', options)
  return of((step) => {
    if (step >= total_steps) return min_lr
    if (step < warmup_steps) return rising(lr, step, warmup_steps)
    const t = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr + ((lr - min_lr) * (1 + Math.cos(Math.PI * t))) / 2
  })
}
