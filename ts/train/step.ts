/** One step of training, which the worker's `trainStep` runs too. */
import { checkOptions, describeValue } from '../checks.js'
import { type CallControl, checkSignal, throwIfAborted } from '../control.js'
import { Module } from '../module/module.js'
import { HANDLE } from '../symbols.js'
import type { Ids } from '../tensor/arguments.js'
import { noGrad } from '../tensor/grad-mode.js'
import type { TensorHandle } from '../tensor/handle.js'
import { tensorsIn } from '../tensor/memory.js'
import type { CrossEntropyOptions } from '../tensor/operations.js'
import { Tensor } from '../tensor/tensor.js'
import { clipGradNorm, clipGradValue } from './clip.js'
import { Optimizer } from './optimizer.js'
import {
  type CheckedObjective,
  type Clipping,
  checkBatches,
  checkClipping,
  checkObjective,
  checkWeights,
  type StepResult,
  wrongStep,
} from './step-options.js'

/** What makes a loss of what `forward` gives; the targets are one tensor for each batch. */
export type Objective =
  /** The mean cross entropy of logits, (.., classes), with target ids, (..). */
  | ({ cross_entropy: readonly Ids[] } & CrossEntropyOptions)
  /** The mean of the squared differences. */
  | { mse: readonly Tensor[] }

/** Options of {@link trainStep}. */
export interface TrainStepOptions extends CallControl {
  /** Absent: `forward` gives the loss, as that of the wrappers for training does. */
  objective?: Objective | undefined
  /**
   * Scales the gradients so that their common norm is at most this; `Infinity` only measures it.
   * Absent: they stay as they are.
   */
  max_grad_norm?: number | undefined
  /**
   * Limits each element of the gradients to this size, before their norm is limited. Absent: they
   * stay.
   */
  max_grad_value?: number | undefined
  /**
   * How much each batch counts, such as its number of tokens: the step is then that of one batch
   * with all of them. Absent: all batches count the same.
   */
  weights?: readonly number[] | undefined
}

/** An optimizer, as far as a step needs it: of any settings. */
export interface StepOptimizer {
  readonly param_groups: readonly { readonly params: readonly Tensor[] }[]
  step(options?: CallControl): Promise<void>
  zeroGrad(): void
}

/** Arguments of `forward`, and targets, that are made when the batch has its turn. */
export interface Batch {
  args(): readonly unknown[]
  /** For an objective. */
  target(): unknown
  /** Frees what was made for it. */
  free(): void
}

/** A step whose arguments are checked. */
export interface Step extends Clipping {
  batches: readonly Batch[]
  objective: Pick<CheckedObjective, 'kind' | 'options'> | null
  /** The share of each batch in the step; null: all have the same. */
  shares: readonly number[] | null
  /**
   * Where the norm is measured: called before clipping, and before the optimizer changes the
   * weights, with what the step will return; where it throws, they stay as they are.
   */
  before_update?: (result: StepResult) => Promise<void> | void
  signal: AbortSignal | undefined
}

export type Forward = { forward(...args: readonly unknown[]): unknown }

/**
 * A whole step of training: the gradients of all batches, averaged (by `weights`, where they are
 * given); clipping, where it is wanted; one step of the optimizer. Gradients of before do not
 * count, and none are left at the end.
 *
 * What `forward` gives is freed, but for parameters and tensors of the arguments. The steps of one
 * optimizer run one after the other, also where nobody awaits them.
 *
 * @param batches the arguments of `forward` for each batch: `[[tokens]]`, or
 *   `[[src, tgt, { mask }]]`
 * @returns the mean loss, before the step, and the norm of the gradients
 * @throws XTransformersError (`invalid_argument`) where `forward` gives no loss and there is no
 *   `objective`; the signal's reason after an abort: the weights are then those of before, or those
 *   after a whole step
 * @example
 * const { loss } = await trainStep(model, optimizer, [[tokens]], { max_grad_norm: 0.5 })
 */
export async function trainStep<Model extends Module>(
  model: Model,
  optimizer: Optimizer<{ lr?: number }>,
  batches: readonly Parameters<Model['forward']>[],
  options: TrainStepOptions = {},
): Promise<StepResult> {
  const checkedOptions = checkOptions(options, 'trainStep()', KEYS)
  const { objective, max_grad_norm, max_grad_value, weights, signal } = checkedOptions
  if (!(model instanceof Module))
    throw wrongStep(`model must be a Module, got ${describeValue(model)}`)
  if (!(optimizer instanceof Optimizer)) {
    throw wrongStep(`optimizer must be one of this package, got ${describeValue(optimizer)}`)
  }
  const list = checkBatches(batches)
  const checked = checkObjective(objective, list.length)
  const step: Step = {
    batches: list.map((args, i) => ({
      args: () => args,
      target: () => checked?.targets[i],
      free: () => {},
    })),
    objective: checked,
    ...checkClipping(max_grad_norm, max_grad_value),
    shares: checkWeights(weights, list.length),
    signal: checkSignal(signal),
  }
  return await inTurn(optimizer, () => runStep(model as Forward, optimizer, step))
}

const KEYS = ['objective', 'max_grad_norm', 'max_grad_value', 'weights', 'signal']

/** The last step of each optimizer: two at once would add to the same gradients. */
const lastSteps = new WeakMap<object, Promise<StepResult>>()

/** Runs a step once those before it on the same optimizer have ended. */
export function inTurn(optimizer: object, run: () => Promise<StepResult>): Promise<StepResult> {
  const before = lastSteps.get(optimizer)
  const result = before === undefined ? run() : before.then(run, run)
  lastSteps.set(optimizer, result)
  return result
}

/** Runs a step whose arguments are checked. */
export async function runStep(
  model: Forward,
  optimizer: StepOptimizer,
  step: Step,
): Promise<StepResult> {
  const { batches, signal } = step
  throwIfAborted(signal)
  optimizer.zeroGrad()
  try {
    let loss = 0
    for (const [i, batch] of batches.entries()) {
      const share = step.shares?.[i] ?? 1 / batches.length
      loss += share * (await addGradients(model, batch, share, step))
    }
    const parameters = optimizer.param_groups.flatMap(({ params }) => params)
    const grad_norm = await clipGradients(parameters, loss, step)
    await optimizer.step({ signal })
    return { loss, grad_norm }
  } finally {
    // their memory is free for the next forward
    optimizer.zeroGrad()
  }
}

/** Limits the gradients, and gives their norm before, where it is wanted. */
async function clipGradients(
  parameters: readonly Tensor[],
  loss: number,
  { max_grad_norm: max, max_grad_value: limit, before_update, signal }: Step,
): Promise<number | null> {
  const clip = (norm: number) => clipGradNorm(parameters, norm, { signal })
  if (max !== null && limit === null && !before_update) return await clip(max)
  // measured first: clipping by a norm that is not finite would leave nothing to look at
  const grad_norm = max === null ? null : await clip(Infinity)
  if (grad_norm !== null) await before_update?.({ loss, grad_norm })
  if (limit !== null) await clipGradValue(parameters, limit, { signal })
  // limits of elements have not made it larger
  if (max !== null && Number(grad_norm) + CLIP_EPSILON > max) await clip(max)
  return grad_norm
}

/** What PyTorch adds to a norm before it divides by it. */
const CLIP_EPSILON = 1e-6

/** Adds the gradients of one batch, times its share, and gives its loss. */
function addGradients(
  model: Forward,
  batch: Batch,
  share: number,
  { objective, signal }: Step,
): Promise<number> {
  return withLoss(model, batch, { objective, signal }, async (loss, keep) => {
    const value = Number(loss.item())
    await (share === 1 ? loss : keep(loss.mul(share))).backward({ signal })
    return value
  })
}

/** The loss of a batch, without gradients. */
export function evaluateLoss(
  model: Forward,
  batch: Batch,
  objective: Step['objective'],
): Promise<number> {
  const quiet = { forward: (...args: readonly unknown[]) => noGrad(() => model.forward(...args)) }
  const settings = { objective, signal: undefined }
  return withLoss(quiet, batch, settings, async (loss) => Number(loss.item()))
}

/** Uses the loss of a batch, and frees what was made for it. */
async function withLoss<T>(
  model: Forward,
  batch: Batch,
  { objective, signal }: Pick<Step, 'objective' | 'signal'>,
  use: (loss: Tensor, keep: (tensor: Tensor) => Tensor) => Promise<T>,
): Promise<T> {
  const made = new Set<TensorHandle>()
  const keep = (tensor: Tensor) => {
    made.add(tensor[HANDLE])
    return tensor
  }
  try {
    const args = batch.args()
    const result = await model.forward(...args)
    for (const handle of resultsOf(result, args)) made.add(handle)
    throwIfAborted(signal)
    const loss = objective ? keep(compare(result, objective, batch.target())) : lossIn(result)
    return await use(loss, keep)
  } finally {
    for (const handle of made) handle.dispose()
    batch.free()
  }
}

/**
 * The tensors that a forward has made: leaves live as long as their model, and arguments are the
 * caller's.
 */
function resultsOf(result: unknown, args: readonly unknown[]): TensorHandle[] {
  const given = tensorsIn(args)
  return [...tensorsIn(result)].filter((handle) => !handle.live && !given.has(handle))
}

function lossIn(result: unknown): Tensor {
  const loss = result instanceof Tensor ? result : (result as { loss?: unknown } | null)?.loss
  if (loss instanceof Tensor && loss.shape.every((n) => n === 1)) return loss
  const got = result instanceof Tensor ? `a tensor of shape [${result.shape}]` : 'several values'
  throw wrongStep(
    `forward gives ${got} and no loss: give an objective, { cross_entropy: [targets] } or { mse: [targets] }, or train a wrapper that gives its loss`,
  )
}

function compare(
  result: unknown,
  { kind, options }: NonNullable<Step['objective']>,
  target: unknown,
): Tensor {
  if (!(result instanceof Tensor))
    throw wrongStep('with an objective, forward must give one tensor')
  return kind === 'mse' ? result.mse(target as Tensor) : result.crossEntropy(target as Ids, options)
}
