import { runStep } from '../../train/step.js'
import type { StepResult } from '../../train/step-options.js'
import type { WireStep } from '../protocol.js'
import type { Table } from './table.js'
import type { Tensors } from './values.js'

/** A whole step of training; batches are unpacked one after the other. */
export function runTrainStep(
  step: WireStep,
  table: Table,
  tensors: Tensors,
  signal: AbortSignal,
): Promise<StepResult> {
  const { objective, max_grad_norm, shares } = step
  const model = table.model(step.model)
  const batches = step.batches.map((batch, i) => ({
    args: () => tensors.unpack<unknown[]>(batch, model),
    target: () => tensors.unpack(objective?.targets[i], model),
    free: () => tensors.dispose(),
  }))
  return runStep(model, table.optimizer(step.optimizer).optimizer, {
    batches,
    objective: objective && { kind: objective.kind, options: objective.options as object },
    max_grad_norm,
    shares,
    signal,
  })
}
