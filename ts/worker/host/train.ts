import { requireFinite } from '../../train/finite.js'
import { type Batch, evaluateLoss, runStep } from '../../train/step.js'
import type { StepResult } from '../../train/step-options.js'
import type { Params, WireObjective, WireStep } from '../protocol.js'
import type { Table } from './table.js'
import type { Tensors } from './values.js'

type Forward = Parameters<typeof runStep>[0]

/** A batch that is unpacked when it has its turn. */
const batchOf = (
  model: ReturnType<Table['model']>,
  batch: unknown[],
  target: unknown,
  tensors: Tensors,
): Batch => ({
  args: () => tensors.unpack<unknown[]>(batch, model),
  target: () => tensors.unpack(target, model),
  free: () => tensors.dispose(),
})

const objectiveOf = (objective: WireObjective | null) =>
  objective && { kind: objective.kind, options: objective.options as object }

/** A whole step of training; batches are unpacked one after the other. */
export function runTrainStep(
  step: WireStep,
  table: Table,
  tensors: Tensors,
  signal: AbortSignal,
): Promise<StepResult> {
  const { objective, max_grad_norm, max_grad_value, shares, place } = step
  const model = table.model(step.model)
  const batches = step.batches.map((batch, i) =>
    batchOf(model, batch, objective?.targets[i], tensors),
  )
  return runStep(model as Forward, table.optimizer(step.optimizer).optimizer, {
    batches,
    objective: objectiveOf(objective),
    max_grad_norm,
    max_grad_value,
    shares,
    signal,
    ...(place && { before_update: (result) => requireFinite(model, result, place) }),
  })
}

/** The loss of a batch, without gradients. */
export function runEvaluation(
  { model: id, batch, objective }: Params<'evaluate'>,
  table: Table,
  tensors: Tensors,
): Promise<number> {
  const model = table.model(id)
  const unpacked = batchOf(model, batch, objective?.targets[0], tensors)
  return evaluateLoss(model as Forward, unpacked, objectiveOf(objective))
}
