/** Every family, by `model_type`. */

import type { Family } from './family.js'
import { gpt2 } from './gpt2.js'
import { llama } from './llama.js'

export const FAMILIES: readonly Family[] = [gpt2, llama]

/** The family of a `model_type`; undefined where none is covered. */
export const familyOf = (type: string): Family | undefined =>
  FAMILIES.find(({ types }) => types.includes(type))
