import { checkFlag, checkOptions, refuse } from '../../checks.js'
import type { Offsets } from './place.js'

/** The weights of x-transformers 2, with what a file of them does not say. */
export interface XTransformers2Weights {
  name: 'x-transformers-2'
  /**
   * The option `norm_add_unit_offset` of the model in Python.
   *
   * @default true
   */
  norm_add_unit_offset?: boolean | undefined
}

/** A package whose weights have other names and values. */
export type WeightsDialect = 'x-transformers-2' | XTransformers2Weights

/** Checks which package weights are of; null for those of this one. */
export function checkDialect(given: unknown): Offsets | null {
  if (given === undefined || given === null) return null
  if (given === 'x-transformers-2') return { norm_add_unit_offset: true }
  if (typeof given !== 'object') throw refuse('dialect', "'x-transformers-2'", given)
  const names = ['name', 'norm_add_unit_offset']
  const own = checkOptions(given as XTransformers2Weights, 'dialect', names)
  if (own.name !== 'x-transformers-2') throw refuse('dialect.name', "'x-transformers-2'", own.name)
  const offset = checkFlag(own.norm_add_unit_offset, 'dialect.norm_add_unit_offset', true)
  return { norm_add_unit_offset: offset }
}
