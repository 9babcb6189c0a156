import { checkIterable, checkList, checkNumber, isRecord, refuse } from '../checks.js'
import { Module } from '../module/module.js'
import { checkTensor, type Tensor } from '../tensor/tensor.js'

/** Parameters with one weight decay. */
export interface DecayGroup {
  params: Tensor[]
  weight_decay: number
}

const isMatrix = ({ shape }: Tensor) => shape.filter((length) => length !== 1).length >= 2

/** Groups of parameters, as those for Muon are. */
type Groups<Group> = readonly (Group & { readonly params: Iterable<Tensor> })[]

/**
 * The parameters of a model in two groups: weight decay for matrices and embeddings, none for
 * vectors and scalars: biases, and gains of norms. A group without parameters is left out.
 *
 * Groups of parameters, such as `model.muonParameters()`, are split in the same way, each with its
 * own settings.
 *
 * @example
 * const optimizer = new AdamW(decayGroups(model, 0.1), { lr: 1e-3 })
 */
export function decayGroups(model: Module, weight_decay: number): DecayGroup[]
export function decayGroups<Group extends object>(
  groups: Groups<Group>,
  weight_decay: number,
): (Group & DecayGroup)[]
export function decayGroups(of: Module | Groups<object>, weight_decay: number): DecayGroup[] {
  const decay = checkNumber(weight_decay, 'weight_decay')
  return groupsOf(of).flatMap(({ params, ...settings }) =>
    [true, false]
      .map((wanted) => ({
        ...settings,
        params: params.filter((parameter) => isMatrix(parameter) === wanted),
        weight_decay: wanted ? decay : 0,
      }))
      .filter((group) => group.params.length > 0),
  )
}

function groupsOf(of: Module | Groups<object>): { params: Tensor[] }[] {
  if (of instanceof Module) return [{ params: of.parameters() }]
  if (!Array.isArray(of)) throw refuse('the model', 'a Module, or groups of parameters', of)
  return checkList(of as Groups<object>, 'the groups', 'groups').map((group, i) => {
    if (!isRecord(group)) throw refuse(`groups[${i}]`, 'an object { params, ... }', group)
    const params = checkIterable(group.params, `groups[${i}].params`, 'tensors')
    for (const [k, parameter] of params.entries())
      checkTensor(parameter, `groups[${i}].params[${k}]`)
    return { ...group, params }
  })
}
