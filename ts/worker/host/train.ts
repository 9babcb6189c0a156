import { throwIfAborted } from '../../control.js'
import { XTransformersError } from '../../errors.js'
import type { NativeModel } from '../../models/native-model.js'
import { Tensor } from '../../tensor/tensor.js'
import { clipGradNorm } from '../../train/clip.js'
import type { StepResult, WireStep } from '../protocol.js'
import type { Table } from './table.js'
import type { Tensors } from './values.js'

type Objective = NonNullable<WireStep['objective']>

/** A whole step of training. */
export async function trainStep(
  step: WireStep,
  table: Table,
  tensors: Tensors,
  signal: AbortSignal,
): Promise<StepResult> {
  const model = table.model(step.model)
  const { optimizer } = table.optimizer(step.optimizer)
  const count = step.batches.length
  optimizer.zeroGrad()
  try {
    let loss = 0
    for (let i = 0; i < count; i++) loss += (await accumulate(model, step, i, tensors, signal)) / count
    const grad_norm = step.max_grad_norm === null ? null : await clip(optimizer, step.max_grad_norm, signal)
    await optimizer.step({ signal })
    return { loss, grad_norm }
  } finally {
    // their memory is free for the next forward
    optimizer.zeroGrad()
  }
}

function clip(
  { param_groups }: { param_groups: readonly { params: readonly Tensor[] }[] },
  max: number,
  signal: AbortSignal,
) {
  return clipGradNorm(
    param_groups.flatMap(({ params }) => params),
    max,
    { signal },
  )
}

/** Adds the gradients of one batch, as its part of the mean, and gives its loss. */
async function accumulate(
  model: NativeModel,
  step: WireStep,
  i: number,
  tensors: Tensors,
  signal: AbortSignal,
): Promise<number> {
  const args = tensors.unpack<unknown[]>(step.batches[i])
  const result: unknown = tensors.keep(await model.forward(...args))
  throwIfAborted(signal)
  const loss = lossOf(result, step.objective, i, tensors)
  const value = Number(loss.item())
  const count = step.batches.length
  await (count === 1 ? loss : tensors.keep(loss.div(count))).backward({ signal })
  tensors.dispose()
  return value
}

function lossOf(result: unknown, objective: Objective | null, i: number, tensors: Tensors): Tensor {
  if (objective) return tensors.keep(compare(result, objective, tensors.unpack<Tensor>(objective.targets[i])))
  const loss = result instanceof Tensor ? result : (result as { loss?: unknown } | null)?.loss
  if (loss instanceof Tensor && loss.shape.every((n) => n === 1)) return loss
  const got = result instanceof Tensor ? `a tensor of shape [${result.shape}]` : 'several values'
  throw new XTransformersError(
    'invalid_argument',
    `trainStep: forward gives ${got} and no loss: give an objective, { cross_entropy: [targets] } or { mse: [targets] }, or train a wrapper that gives its loss`,
  )
}

function compare(result: unknown, { kind, options }: Objective, target: Tensor): Tensor {
  if (!(result instanceof Tensor)) {
    throw new XTransformersError('invalid_argument', 'trainStep: with an objective, forward must give one tensor')
  }
  return kind === 'mse' ? result.mse(target) : result.crossEntropy(target, options as object)
}
