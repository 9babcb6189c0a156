import { checkNumber } from '../checks.js'
import type { ConstantOptions, CosineWarmupOptions, LinearWarmupOptions } from '../options.gen.js'
import { resolveOptions } from '../options.js'

/** The learning rate of a step, counted from 0. */
export type Schedule = (step: number) => number

/**
 * The same rate at every step.
 *
 * @example
 * optimizer.lr = constant({ lr: 3e-4 })(step)
 */
export function constant(options: ConstantOptions): Schedule {
  const { lr } = resolveOptions('constant', options)
  return (step) => {
    checkNumber(step, 'step')
    return lr
  }
}

/** A rate that grows evenly over the warm-up, `lr * (step + 1) / warmup_steps`, and then stays. */
export function linearWarmup(options: LinearWarmupOptions): Schedule {
  const { lr, warmup_steps } = resolveOptions('linearWarmup', options)
  return (step) => (checkNumber(step, 'step') < warmup_steps ? (lr * (step + 1)) / warmup_steps : lr)
}

/**
 * A rate that grows evenly over the warm-up and then falls along half a cosine to `min_lr` (0 by default) at `total_steps`, where it stays.
 *
 * @example
 * const schedule = cosineWarmup({ lr: 3e-3, warmup_steps: 40, total_steps: 1000, min_lr: 6e-5 })
 * optimizer.lr = schedule(step)
 */
export function cosineWarmup(options: CosineWarmupOptions): Schedule {
  const { lr, warmup_steps, total_steps, min_lr } = resolveOptions('cosineWarmup', options)
  return (step) => {
    if (checkNumber(step, 'step') < warmup_steps) return (lr * (step + 1)) / warmup_steps
    const t = Math.min(1, (step - warmup_steps) / Math.max(1, total_steps - warmup_steps))
    return min_lr + ((lr - min_lr) * (1 + Math.cos(Math.PI * t))) / 2
  }
}
