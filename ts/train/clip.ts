import { native } from '#native'
import { checkIterable, checkOptions, refuse } from '../checks.js'
import { type CallControl, checkSignal } from '../control.js'
import { guarded } from '../errors.js'
import { HANDLE } from '../symbols.js'
import { heavy } from '../tensor/calls.js'
import { mergeGates, NO_GATES, scheduleSync } from '../tensor/schedule.js'
import { checkTensor, type Tensor } from '../tensor/tensor.js'

function check(parameters: Iterable<Tensor>, max: number, what: string) {
  if (typeof max !== 'number' || Number.isNaN(max) || max < 0) {
    throw refuse(what, 'a number from 0', max)
  }
  const list = checkIterable(parameters, 'parameters', 'tensors, such as model.parameters()')
  const handles = list.map((parameter, i) => checkTensor(parameter, `parameter ${i}`)[HANDLE])
  return { handles, gates: mergeGates(handles.map((handle) => handle.gates)) }
}

/**
 * Scales the gradients so that their common norm is at most `max` (`Infinity`: leaves them), and
 * resolves to the norm before. Parameters without a gradient are passed over.
 *
 * @example
 * await loss.backward()
 * const norm = await clipGradNorm(model.parameters(), 1)
 */
export async function clipGradNorm(
  parameters: Iterable<Tensor>,
  max: number,
  options: CallControl = {},
): Promise<number> {
  const { signal } = checkOptions(options, 'clipGradNorm()', ['signal'])
  const { handles, gates } = check(parameters, max, 'the largest norm')
  return await heavy({
    reads: NO_GATES,
    writes: gates,
    inputs: handles,
    signal: checkSignal(signal),
    start: (abort) =>
      native.clipGradNorm(
        handles.map((handle) => handle.pinned()),
        max,
        abort,
      ),
  })
}

/** As {@link clipGradNorm}, at once. */
export function clipGradNormSync(parameters: Iterable<Tensor>, max: number): number {
  const { handles, gates } = check(parameters, max, 'the largest norm')
  const natives = handles.map((handle) => handle.use())
  return scheduleSync('clipGradNormSync()', NO_GATES, gates, () =>
    guarded(() => native.clipGradNormSync(natives, max)),
  )
}

/**
 * Limits each element of the gradients to `-value` to `value`, as PyTorch's `clip_grad_value_`; NaN
 * stays NaN. Parameters without a gradient are passed over.
 *
 * @throws XTransformersError (`out_of_memory`); a part of the gradients may be limited then, as
 *   after an abort
 * @example
 * await loss.backward()
 * await clipGradValue(model.parameters(), 0.5)
 */
export async function clipGradValue(
  parameters: Iterable<Tensor>,
  value: number,
  options: CallControl = {},
): Promise<void> {
  const { signal } = checkOptions(options, 'clipGradValue()', ['signal'])
  const { handles, gates } = check(parameters, value, 'the largest value')
  await heavy({
    reads: NO_GATES,
    writes: gates,
    inputs: handles,
    signal: checkSignal(signal),
    start: (abort) =>
      native.clipGradValue(
        handles.map((handle) => handle.pinned()),
        value,
        abort,
      ),
  })
}

/** As {@link clipGradValue}, at once. */
export function clipGradValueSync(parameters: Iterable<Tensor>, value: number): void {
  const { handles, gates } = check(parameters, value, 'the largest value')
  const natives = handles.map((handle) => handle.use())
  scheduleSync('clipGradValueSync()', NO_GATES, gates, () =>
    guarded(() => native.clipGradValueSync(natives, value)),
  )
}
