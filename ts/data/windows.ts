import { checkOptions, has, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkCount, checkIndex } from './checks.js'
import type { Dataset } from './dataset.js'
import type { TokenIds } from './ids.js'
import type { Tokens } from './tokens.js'

/** Options of {@link windows}. */
export interface WindowsOptions {
  /** How many ids the model reads at once. A window has one more: the last target. */
  length: number
  /**
   * From the start of one window to that of the next.
   *
   * @default `length`, so that each id is a target once
   */
  stride?: number | undefined
}

/** Windows of a row of tokens. */
class Windows implements Dataset<TokenIds> {
  readonly length: number
  readonly #tokens: Tokens
  readonly #width: number
  readonly #stride: number

  constructor(tokens: Tokens, width: number, stride: number) {
    if (!has(tokens, 'read')) throw refuse('tokens', 'a TokenArray or a TokenFile', tokens)
    const size = checkCount(tokens.length, 'the length of the tokens', 0)
    if (size < width) {
      const message = `a window of length ${width - 1} has ${width} ids, and there are only ${size}: give a smaller length, or more text`
      throw new XTransformersError('invalid_argument', message)
    }
    this.length = Math.floor((size - width) / stride) + 1
    this.#tokens = tokens
    this.#width = width
    this.#stride = stride
  }

  get(index: number): TokenIds | Promise<TokenIds> {
    checkIndex(index, 'index', this.length)
    return this.#tokens.read(index * this.#stride, this.#width)
  }
}

/**
 * Consecutive windows of `length + 1` ids: `AutoregressiveWrapper.forward` takes rows of them, in
 * which each id is the target of those before it. What is left at the end, and does not fill a
 * window, is left out.
 *
 * @throws XTransformersError (`invalid_argument`) where there are fewer ids than one window has
 * @example
 * const dataset = windows(new TokenArray(ids), { length: 128 })
 */
export function windows(tokens: Tokens, options: WindowsOptions): Dataset<TokenIds> {
  const own = checkOptions(options, 'windows()', ['length', 'stride'])
  const length = checkCount(own.length, 'length', 1)
  return new Windows(tokens, length + 1, checkCount(own.stride ?? length, 'stride', 1))
}

/** Options of {@link randomWindows}. */
export type RandomWindowsOptions = Pick<WindowsOptions, 'length'>

/**
 * All windows of `length + 1` ids, whichever id they begin with: their number is that of the
 * possible starts. For a loader with `shuffle: 'with_replacement'`, as nanoGPT draws its batches,
 * or with `shuffle: true`, which begins with no id twice.
 *
 * @throws XTransformersError (`invalid_argument`) where there are fewer ids than one window has
 */
export function randomWindows(tokens: Tokens, options: RandomWindowsOptions): Dataset<TokenIds> {
  const own = checkOptions(options, 'randomWindows()', ['length'])
  return new Windows(tokens, checkCount(own.length, 'length', 1) + 1, 1)
}
