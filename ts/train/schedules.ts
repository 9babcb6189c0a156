import type { Problem } from '../errors.js'
import { problemsError } from '../errors.js'
import { anyNumber, notNegative, type Rule, type Rules, validate } from '../rules.js'

/** The learning rate of a step, counted from 0. */
export type Schedule = (step: number) => number

const steps: Rule = { default: 0, allowed: 'a number of steps from 0', fits: notNegative(0).fits }

function check(name: string, rules: Rules, options: object, required: string[]): void {
  const given = Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined))
  const problems: Problem[] = validate(rules, given, '')
  for (const path of required.filter((key) => !(key in given))) {
    problems.push({ path, message: 'is required', did_you_mean: null, allowed: rules[path]?.allowed ?? null })
  }
  if (problems.length > 0) throw problemsError(`${name} cannot be made with these options`, problems)
}

/**
 * The same rate at every step.
 *
 * @example
 * optimizer.lr = constant({ lr: 3e-4 })(step)
 */
export function constant(options: { lr: number }): Schedule {
  check('constant', { lr: notNegative(0) }, options, ['lr'])
  const { lr } = options
  return () => lr
}

/** A rate that grows evenly over the warm-up, `lr * (step + 1) / warmup_steps`, and then stays. */
export function linearWarmup(options: { lr: number; warmup_steps: number }): Schedule {
  check('linearWarmup', { lr: notNegative(0), warmup_steps: steps }, options, ['lr', 'warmup_steps'])
  const { lr, warmup_steps } = options
  return (step) => (step < warmup_steps ? (lr * (step + 1)) / warmup_steps : lr)
}

/**
 * A rate that grows evenly over the warm-up and then falls along half a cosine to `min_lr` (0 by default) at `total_steps`, where it stays.
 *
 * @example
 * const schedule = cosineWarmup({ lr: 3e-3, warmup_steps: 40, total_steps: 1000, min_lr: 6e-5 })
 * optimizer.lr = schedule(step)
 */
export function cosineWarmup(options: {
  lr: number
  warmup_steps: number
  total_steps: number
  min_lr?: number
}): Schedule {
  const rules = { lr: notNegative(0), warmup_steps: steps, total_steps: steps, min_lr: anyNumber(0) }
  check('cosineWarmup', rules, options, ['lr', 'warmup_steps', 'total_steps'])
  const { lr, warmup_steps, total_steps, min_lr = 0 } = options
  return (step) => {
    if (step < warmup_steps) return (lr * (step + 1)) / warmup_steps
    const t = Math.min(1, (step - warmup_steps) / Math.max(1, total_steps - warmup_steps))
    return min_lr + ((lr - min_lr) * (1 + Math.cos(Math.PI * t))) / 2
  }
}
