import { describeValue, has, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { Module } from '../module/module.js'
import { ENGINE, type Engine, type EngineOptimizer, type RunObjective } from './engine.js'
import { LocalEngine } from './local-engine.js'
import { Optimizer } from './optimizer.js'

/** Of a run, as far as its engine is decided by it. */
interface Settings {
  optimizer: unknown
  objective: RunObjective | null
}

/**
 * What runs the steps of a model.
 *
 * @throws XTransformersError (`invalid_options`, `invalid_argument`)
 */
export function engineOf(model: unknown, { optimizer, objective }: Settings): Engine {
  if (has(optimizer, ENGINE)) return (optimizer as EngineOptimizer)[ENGINE](model, objective)
  if (!(model instanceof Module)) {
    const message = `Trainer: the model must be a Module, got ${describeValue(model)}`
    throw new XTransformersError('invalid_argument', message)
  }
  if (optimizer instanceof Optimizer) return new LocalEngine(model, optimizer, objective)
  throw refuse('optimizer', 'an optimizer of this package', optimizer, 'invalid_options')
}
