/** Options of averages of weights, checked alike on both sides of a worker. */
import { checkFlag, checkNumber, checkOptions, refuse } from '../checks.js'

/** Options of an `EMA`. */
export interface EMAOptions {
  /**
   * How much of an average an update keeps, from 0 to below 1. An average is about the last
   * `1 / (1 - decay)` updates.
   *
   * @default 0.999
   */
  decay?: number | undefined
  /**
   * Whether the decay of update `n`, counted from 1, is at most `n / (n + 9)`: the first weights,
   * which know nothing, are forgotten sooner.
   *
   * @default false
   */
  warmup?: boolean | undefined
}

/** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
export function checkEMA(options: EMAOptions, what = 'EMA'): { decay: number; warmup: boolean } {
  const own = checkOptions(options, what, ['decay', 'warmup'])
  const decay = checkNumber(own.decay ?? 0.999, 'decay')
  if (decay < 0 || decay >= 1)
    throw refuse('decay', 'a number from 0 to below 1', decay, 'invalid_options')
  return { decay, warmup: checkFlag(own.warmup, 'warmup', false) }
}
