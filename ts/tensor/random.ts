import { checkSeed } from '../checks.js'
import type { ContextJson } from '../native/native.js'
import { gradEnabled } from './grad-mode.js'

// Two programs without a seed of their own must not draw the same numbers.
let seed = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER)
let calls = 0

/**
 * Seeds everything random that follows: initial values, dropout, sampling, `rand`, `randn`,
 * `randint`.
 *
 * The numbers depend on the seed and on the order in which calls are made, not on when they run or
 * on how many threads.
 *
 * @param value a whole number from 0 to 2^53 - 1
 * @throws XTransformersError (`invalid_argument`) for any other value
 * @example
 * manualSeed(42)
 * const a = randn([2])
 * manualSeed(42)
 * const b = randn([2]) // equal to a
 */
export function manualSeed(value: number): void {
  checkSeed(value)
  seed = value
  calls = 0
}

/** Where the sequence of random numbers is; JSON has a word for it. */
export interface RandomState {
  seed: number
  /** The number of calls that have drawn. */
  calls: number
}

/** Where the sequence is now: what draws after `setRandomState` of it draws the same again. */
export const randomState = (): RandomState => ({ seed, calls })

/** @throws XTransformersError (`invalid_argument`) where it is no such state */
export function setRandomState(state: RandomState): void {
  checkSeed(state.seed)
  checkSeed(state.calls)
  seed = state.seed
  calls = state.calls
}

/**
 * The context of a call that may draw random numbers: it takes the next number of the sequence,
 * now. `activations`: whether a model records the sizes of the outputs of its layers.
 */
export function nextContext(grad: boolean = gradEnabled(), activations = false): ContextJson {
  return `{"seed":${seed},"call":${calls++},"grad":${grad},"activations":${activations}}`
}

/** The context of an operation that draws nothing. */
export function plainContext(grad: boolean = gradEnabled()): ContextJson {
  return grad ? '{"seed":0,"call":0,"grad":true}' : '{"seed":0,"call":0,"grad":false}'
}
