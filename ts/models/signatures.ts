/**
 * The first positional arguments of a class's methods: their names, and what an array in their
 * place holds. Token ids become i64.
 */
import type { Positional } from './encode.js'

export const ids = (...names: string[]): Positional[] => names.map((name) => [name, 'ids'])
/** Prompts of one length, or an array with those of different lengths. */
export const prompts = (name: string): Positional[] => [[name, 'prompts']]
export const vectors = (name: string): Positional[] => [[name, 'vectors']]

/** The tensors among the positional arguments, the first ones, by method. */
export type Signatures = Readonly<Record<string, readonly Positional[]>>

/** Of models over vectors. */
export const VECTORS: Signatures = { forward: vectors('x'), generate: vectors('start') }
