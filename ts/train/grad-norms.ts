import { native } from '#native'
import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { Module } from '../module/module.js'
import { HANDLE } from '../symbols.js'
import { heavy } from '../tensor/calls.js'
import type { TensorHandle } from '../tensor/handle.js'
import { tidy } from '../tensor/memory.js'
import { mergeGates, NO_GATES } from '../tensor/schedule.js'
import { type Tensor, wrap } from '../tensor/tensor.js'
import { recorded } from './activation-norms.js'
import type { EngineResult, RunPlace } from './engine.js'
import { requireFinite } from './finite.js'
import { layersOf } from './layers.js'
import type { StepResult } from './step-options.js'

/**
 * The norm of the gradients in each layer, by its name: what the names of its parameters begin
 * with, such as `net.attn_layers.layers.0` (one attention or feed-forward with its norm) or
 * `net.token_emb`. Layers without gradients are left out. From a GPU one number is copied for each
 * layer.
 *
 * @example
 * await loss.backward()
 * const norms = await gradNorms(model)
 * @throws XTransformersError (`invalid_argument`)
 */
export async function gradNorms(model: Module): Promise<Record<string, number>> {
  if (!(model instanceof Module)) {
    const message = `gradNorms: the model must be a Module, got ${describeValue(model)}`
    throw new XTransformersError('invalid_argument', message)
  }
  const parameters = model.namedParameters()
  const layers = [...layersOf([...parameters.keys()])].flatMap(([layer, names]) => {
    const own = names.map((name) => parameters.get(name) as Tensor)
    return own.some(({ grad }) => grad !== null) ? [{ layer, own }] : []
  })
  if (layers.length === 0) return {}
  const handles = layers.flatMap(({ own }) => own.map((parameter) => parameter[HANDLE]))
  const counts = layers.map(({ own }) => own.length)
  const norms = await heavy({
    reads: mergeGates(handles.map((handle) => handle.gates)),
    writes: NO_GATES,
    inputs: handles,
    start: (abort) => native.gradNorms(pinned(handles), counts, abort),
    discard: (unwanted) => unwanted.dispose(),
  })
  const values = tidy(() => wrap(norms).dataSync())
  return Object.fromEntries(layers.map(({ layer }, i) => [layer, Number(values[i])]))
}

const pinned = (handles: readonly TensorHandle[]) => handles.map((handle) => handle.pinned())

/** What is looked at in a step of a run, before the weights change. */
export interface Measures {
  place: RunPlace
  /** Whether the norms of gradients are wanted for each layer. */
  grad_norms: boolean
  /** Whether the norms of the outputs of layers are wanted. */
  activation_norms: boolean
}

/**
 * A step of a run, whose loss and gradients must be finite.
 *
 * @param run the step, which calls what it is given before the weights change
 * @throws XTransformersError (`not_finite`)
 */
export async function measuredStep(
  model: Module,
  { place, grad_norms, activation_norms }: Measures,
  run: (before_update: (result: StepResult) => Promise<void>) => Promise<StepResult>,
): Promise<EngineResult> {
  let gradients: EngineResult['grad_norms'] = null
  const step = () =>
    run(async (before) => {
      requireFinite(model, before, place)
      if (grad_norms) gradients = await gradNorms(model)
    })
  if (!activation_norms) return { ...(await step()), grad_norms: gradients, activation_norms: null }
  const { result, norms } = await recorded(model, step)
  return { ...result, grad_norms: gradients, activation_norms: norms }
}
