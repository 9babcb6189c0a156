import { checkNumber, refuse } from '../checks.js'
import { Module } from '../module/module.js'
import type { Tensor } from '../tensor/tensor.js'

/** Parameters with one weight decay. */
export interface DecayGroup {
  params: Tensor[]
  weight_decay: number
}

/**
 * The parameters of a model in two groups: weight decay for matrices and embeddings, none for
 * vectors and scalars: biases, and gains of norms. A group without parameters is left out.
 *
 * @example
 * const optimizer = new AdamW(decayGroups(model, 0.1), { lr: 1e-3 })
 */
export function decayGroups(model: Module, weight_decay: number): DecayGroup[] {
  if (!(model instanceof Module)) throw refuse('the model', 'a Module', model)
  const decay = checkNumber(weight_decay, 'weight_decay')
  const parameters = model.parameters()
  const isMatrix = ({ shape }: Tensor) => shape.filter((length) => length !== 1).length >= 2
  const [matrices, others] = [true, false].map((wanted) =>
    parameters.filter((parameter) => isMatrix(parameter) === wanted),
  ) as [Tensor[], Tensor[]]
  return [
    { params: matrices, weight_decay: decay },
    { params: others, weight_decay: 0 },
  ].filter(({ params }) => params.length > 0)
}
