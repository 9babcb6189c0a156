import { describeValue, has, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { Module } from '../module/module.js'
import { ENGINE, type Engine, type EngineOptimizer, type EngineSettings } from './engine.js'
import { LocalEngine } from './local-engine.js'
import { Optimizer } from './optimizer.js'

/** Of a run, as far as its engine is decided by it. */
interface Settings extends EngineSettings {
  optimizer: unknown
}

/**
 * What runs the steps of a model.
 *
 * @throws XTransformersError (`invalid_options`, `invalid_argument`)
 */
export function engineOf(model: unknown, { optimizer, ...settings }: Settings): Engine {
  if (has(optimizer, ENGINE)) return (optimizer as EngineOptimizer)[ENGINE](model, settings)
  if (!(model instanceof Module)) {
    const message = `Trainer: the model must be a Module, got ${describeValue(model)}`
    throw new XTransformersError('invalid_argument', message)
  }
  if (optimizer instanceof Optimizer) return new LocalEngine(model, optimizer, settings)
  throw refuse('optimizer', 'an optimizer of this package', optimizer, 'invalid_options')
}
