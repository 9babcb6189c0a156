import { checkOptions, describeValue } from '../checks.js'
import type { Ids } from '../tensor/arguments.js'
import type { CrossEntropyOptions } from '../tensor/operations.js'
import {
  type CheckedObjective,
  checkBatches,
  checkClipping,
  checkObjective,
  checkWeights,
  wrongStep,
} from '../train/step-options.js'
import type { Connection } from './client.js'
import { RemoteOptimizer } from './optimizers.js'
import type { WireObjective, WireStep } from './protocol.js'
import { RemoteModel } from './remote-model.js'
import type { TensorInput } from './tensor.js'
import type { Packed } from './transfer.js'
import type { RemoteInput } from './types.js'
import { packArguments, REMOTE } from './values.js'

/** What makes a loss of what `forward` gives; the targets are one tensor for each batch. */
export type Objective =
  /** The mean cross entropy of logits, (.., classes), with target ids, (..). */
  | ({ cross_entropy: readonly RemoteInput<Ids>[] } & CrossEntropyOptions)
  /** The mean of the squared differences. */
  | { mse: readonly TensorInput[] }

/** A whole step of training. */
export interface TrainStep<Model extends Trainable = Trainable> {
  model: Model
  optimizer: RemoteOptimizer
  /**
   * The arguments of `forward` for each batch: `[[tokens]]`, or `[[src, tgt, { mask }]]`. The
   * gradients of several are averaged.
   */
  batches: readonly Parameters<Model['forward']>[]
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
   * How much each batch counts, such as its number of tokens. Absent: all batches count the same.
   */
  weights?: readonly number[] | undefined
  /**
   * Ends the step: it rejects with `signal.reason`. The weights are those of before, or those after
   * a whole step.
   */
  signal?: AbortSignal | undefined
}

/** A model with a `forward`. */
export type Trainable = RemoteModel & { readonly forward: (...args: never[]) => Promise<unknown> }

const KEYS = [
  ...['model', 'optimizer', 'batches', 'objective', 'max_grad_norm', 'max_grad_value'],
  ...['weights', 'signal'],
]

/** @throws XTransformersError (`invalid_argument`) */
export function packStep(step: TrainStep, connection: Connection): Packed<WireStep> {
  const { model, optimizer, batches, objective, max_grad_norm, max_grad_value, weights } =
    checkOptions(step, 'trainStep()', KEYS)
  if (!(model instanceof RemoteModel))
    throw wrongStep(`model must be a model of this worker, got ${describeValue(model)}`)
  if (!(optimizer instanceof RemoteOptimizer))
    throw wrongStep(`optimizer must be one of this worker, got ${describeValue(optimizer)}`)
  if (model[REMOTE].connection !== connection || optimizer[REMOTE].connection !== connection)
    throw wrongStep('model and optimizer must be of this worker')
  const list = checkBatches(batches)
  const clipping = checkClipping(max_grad_norm, max_grad_value)
  const shares = checkWeights(weights, list.length)
  const packed = list.map((batch, i) => packArguments(batch, connection, `batches[${i}]`))
  const checked = checkObjective(objective, list.length)
  const targets = checked && packObjective(checked, connection)
  return {
    value: {
      model: model[REMOTE].id,
      optimizer: optimizer[REMOTE].id,
      batches: packed.map(({ value }) => value),
      objective: targets?.value ?? null,
      ...clipping,
      shares,
    },
    transfer: [...packed, ...(targets ? [targets] : [])].flatMap(({ transfer }) => transfer),
  }
}

function packObjective(
  { kind, targets, options }: CheckedObjective,
  connection: Connection,
): Packed<WireObjective> {
  const { value, transfer } = packArguments([targets, options], connection, 'objective')
  return { value: { kind, targets: value[0] as unknown[], options: value[1] }, transfer }
}
