import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { Module } from '../module/module.js'
import { RECORD, RECORDED } from '../module/submodule.js'

/**
 * The root mean square of the elements that each layer gives (attention or feed-forward, with its
 * residual connection and norms), by its name, such as `net.attn_layers.layers.0`. Of several calls
 * it is taken over the elements of all, also of calls of the models within, and of `generate` and
 * `stream`; layers that did not compute, as with `layer_dropout`, are left out.
 *
 * Nothing else may use the model meanwhile. What layers compute is not copied: of each there is one
 * number, and all are copied from a GPU together.
 *
 * @param run what calls the model
 * @example
 * const norms = await activationNorms(model, () => model.forward(tokens))
 * @throws XTransformersError (`invalid_argument`), and what `run` throws
 */
export async function activationNorms(
  model: Module,
  run: () => unknown,
): Promise<Record<string, number>> {
  if (!(model instanceof Module)) {
    const message = `activationNorms: the model must be a Module, got ${describeValue(model)}`
    throw new XTransformersError('invalid_argument', message)
  }
  if (typeof run !== 'function') {
    const message = `activationNorms: run must be a function, got ${describeValue(run)}`
    throw new XTransformersError('invalid_argument', message)
  }
  return (await recorded(model, async () => await run())).norms
}

/** What `run` gives, and the norms of what layers have computed in it. */
export async function recorded<T>(
  model: Module,
  run: () => Promise<T>,
): Promise<{ result: T; norms: Record<string, number> }> {
  model[RECORD](true)
  try {
    const result = await run()
    const layers = [...(await model[RECORDED]())]
    const norms = layers.map(([name, { sum, elements }]) => [name, Math.sqrt(sum / elements)])
    return { result, norms: Object.fromEntries(norms) }
  } catch (error) {
    // what was recorded until then is nobody's
    await model[RECORDED]().catch(() => {})
    throw error
  } finally {
    model[RECORD](false)
  }
}
