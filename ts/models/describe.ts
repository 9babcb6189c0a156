import { refuse } from '../checks.js'
import type { EntrySource } from '../module/entries.js'
import { Module } from '../module/module.js'
import { ENTRIES } from '../module/submodule.js'
import { type ModelTree, treeOf } from '../module/tree.js'
import { sizeOf } from '../tensor/dtype.js'
import { NativeModel } from './native-model.js'

/** A parameter, as {@link describe} tells it. */
export interface DescribedParameter {
  /** As in the state dict: `net.token_emb.emb.weight`. */
  name: string
  /** The sizes of its dimensions; empty for a scalar. */
  shape: readonly number[]
  /** The number of its elements. */
  size: number
  /** True for the table of an `Embedding`, which is looked up and no matrix that multiplies. */
  table?: true
}

/** What {@link describe} tells of a model. */
export interface ModelDescription {
  class: string
  /** The options of the constructor; nested models as `{ class, options }`. */
  options: unknown
  /** The parameters in the order of the state dict, each once. */
  parameters: DescribedParameter[]
  /** Number of single weights. */
  num_parameters: number
  /** Memory of the parameters and persistent buffers once they are there, as f32. */
  bytes: number
  /** The parts of the model. */
  children: ModelTree[]
}

const BYTES_PER_WEIGHT = 4

/**
 * The structure of a model: its parts, shapes and sizes. Draws no values, so that the largest
 * configuration can be looked at.
 *
 * @example
 * const decoder = new Decoder({ dim: 12288, depth: 96, heads: 96, attn_dim_head: 128 })
 * const { num_parameters, bytes } = describe(decoder)
 */
export function describe(model: Module): ModelDescription {
  if (!(model instanceof Module)) throw refuse('what describe() takes', 'a Module', model)
  const entries = model[ENTRIES]()
  const name = className(model)
  const seen = new Set<EntrySource>()
  const unique = entries.filter(({ source }) => !seen.has(source) && seen.add(source))
  const sized = unique.map((entry) => ({ ...entry, size: sizeOf(entry.shape) }))
  const parameters = sized
    .filter(({ kind }) => kind === 'parameter')
    .map(
      ({ name, shape, size, table }): DescribedParameter => ({
        ...{ name, shape, size },
        ...(table && { table }),
      }),
    )
  const total = (list: { size: number }[]) => list.reduce((sum, { size }) => sum + size, 0)
  const options = model.options ?? {}
  return {
    class: name,
    options,
    parameters,
    num_parameters: total(parameters),
    bytes: total(sized) * BYTES_PER_WEIGHT,
    children: treeOf(name, entries, options).children,
  }
}

const className = (model: Module) =>
  model instanceof NativeModel ? model.className : model.constructor.name
