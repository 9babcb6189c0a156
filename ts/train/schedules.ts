import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type {
  ConstantOptions,
  CosineWarmupOptions,
  InverseSqrtOptions,
  LinearDecayOptions,
  LinearWarmupOptions,
  WarmupStableDecayOptions,
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
  return falling({ ...resolveOptions('cosineWarmup', options), decay: 'cosine' })
}

/**
 * A rate that grows evenly over the warm-up and then falls evenly to `min_lr` (0 by default) at
 * `total_steps`, where it stays.
 */
export function linearDecay(options: LinearDecayOptions): Schedule {
  return falling({ ...resolveOptions('linearDecay', options), decay: 'linear' })
}

/**
 * A rate that grows evenly over the warm-up and then falls with the inverse square root of the
 * step: `lr * sqrt(warmup_steps / step)`. <https://arxiv.org/abs/1706.03762>
 */
export function inverseSqrt(options: InverseSqrtOptions): Schedule {
  const { lr, warmup_steps } = resolveOptions('inverseSqrt', options)
  const scale = Math.max(1, warmup_steps)
  return of((step) => {
    if (step < warmup_steps) return rising(lr, step, warmup_steps)
    return lr * Math.sqrt(scale / Math.max(scale, step))
  })
}

/**
 * A rate that grows evenly over the warm-up, stays, and falls to `min_lr` (0 by default) over the
 * last `decay_steps` before `total_steps`: such a run can be continued from before the decay.
 * <https://arxiv.org/abs/2404.06395>
 *
 * @example
 * warmupStableDecay({ lr: 1e-3, warmup_steps: 100, decay_steps: 400, total_steps: 2000 })
 */
export function warmupStableDecay(options: WarmupStableDecayOptions): Schedule {
  const { decay_steps, ...rest } = resolveOptions('warmupStableDecay', options)
  const start = Math.max(rest.warmup_steps, rest.total_steps - decay_steps)
  return falling({ ...rest, start })
}

/** How much is left of the rate after a part of its decay, from 0 to 1. */
const DECAYS = {
  linear: (t: number) => 1 - t,
  cosine: (t: number) => (1 + Math.cos(Math.PI * t)) / 2,
  sqrt: (t: number) => 1 - Math.sqrt(t),
}

interface Falling {
  lr: number
  min_lr: number
  warmup_steps: number
  /** The step from which on it falls; by default the end of the warm-up. */
  start?: number
  total_steps: number
  decay: keyof typeof DECAYS
}

/** A rate that grows, stays until `start`, and falls until `total_steps`. */
function falling({ lr, min_lr, warmup_steps, total_steps, decay, ...rest }: Falling): Schedule {
  const { start = warmup_steps } = rest
  return of((step) => {
    if (step >= total_steps) return min_lr
    if (step < warmup_steps) return rising(lr, step, warmup_steps)
    if (step < start) return lr
    return min_lr + (lr - min_lr) * DECAYS[decay]((step - start) / (total_steps - start))
  })
}
