/** How a run is watched: samples, norms by layer, loggers. */
import { checkFlag, checkFunction, checkList, checkOptions, has, refuse } from '../checks.js'
import type { Logger } from './loggers.js'
import { positive } from './option-checks.js'

/** Text, or whatever else shows what the model has learned. */
export interface SampleOptions {
  /** A sample after so many steps, and one at the end. */
  every: number
  /**
   * Makes the sample. The model is in eval mode, and the random numbers of the run go on as if
   * nothing had been drawn.
   */
  make: () => string | Promise<string>
}

/** What is measured in each layer of the model. */
export interface NormOptions {
  /**
   * The norms of the gradients, as `gradNorms` gives them.
   *
   * @default true
   */
  gradients?: boolean | undefined
  /**
   * The norms of the outputs of layers, as `activationNorms` gives them.
   *
   * @default false
   */
  activations?: boolean | undefined
  /**
   * Once in so many steps.
   *
   * @default 1
   */
  every?: number | undefined
}

/** Options of a run whose values are checked, with their defaults. */
export interface Observed {
  sample: SampleOptions | null
  norms: { gradients: boolean; activations: boolean; every: number } | null
  loggers: readonly Logger[]
}

/** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
export function checkObserved(given: {
  sample?: SampleOptions | null | undefined
  norms?: NormOptions | null | undefined
  loggers?: readonly Logger[] | null | undefined
}): Observed {
  return {
    sample: checkSample(given.sample),
    norms: checkNorms(given.norms),
    loggers: checkLoggers(given.loggers),
  }
}

function checkSample(given: SampleOptions | null | undefined): SampleOptions | null {
  if (given === undefined || given === null) return null
  const { every, make } = checkOptions(given, 'sample', ['every', 'make'])
  return {
    every: positive(every ?? 0, 'sample.every', true, 0),
    make: checkFunction(make, 'sample.make'),
  }
}

function checkNorms(given: NormOptions | null | undefined): Observed['norms'] {
  if (given === undefined || given === null) return null
  const own = checkOptions(given, 'norms', ['gradients', 'activations', 'every'])
  const { gradients, activations, every } = own
  return {
    gradients: checkFlag(gradients, 'norms.gradients', true),
    activations: checkFlag(activations, 'norms.activations', false),
    every: positive(every, 'norms.every', true, 1),
  }
}

function checkLoggers(given: readonly Logger[] | null | undefined): readonly Logger[] {
  const loggers = checkList(given ?? [], 'loggers', 'objects with a method log')
  for (const [i, logger] of loggers.entries())
    if (!has(logger, 'log'))
      throw refuse(`loggers[${i}]`, 'an object with a method log', logger, 'invalid_options')
  return loggers
}
