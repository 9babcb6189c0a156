import type { EngineResult } from '../../train/engine.js'
import { measuredStep } from '../../train/grad-norms.js'
import { modelInfo } from '../../train/model-info.js'
import type { ModelInfo } from '../../train/run-info.js'
import { type Batch, evaluateLoss, runStep, type Step } from '../../train/step.js'
import type { StepResult } from '../../train/step-options.js'
import type { Params, WireObjective, WireRunStep, WireStep } from '../protocol.js'
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
  before_update?: Step['before_update'],
): Promise<StepResult> {
  const { objective, max_grad_norm, max_grad_value, shares } = step
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
    ...(before_update && { before_update }),
  })
}

/** A step of a run. */
export function runMeasuredStep(
  step: WireRunStep,
  table: Table,
  tensors: Tensors,
  signal: AbortSignal,
): Promise<EngineResult> {
  return measuredStep(table.model(step.model), step, (before_update) =>
    runTrainStep(step, table, tensors, signal, before_update),
  )
}

/** What loggers are told of a model and its optimizer. */
export const describeRun = ({ model, optimizer }: Params<'describeRun'>, table: Table): ModelInfo =>
  modelInfo(table.model(model), table.optimizer(optimizer).optimizer)

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
