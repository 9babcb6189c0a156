import { checkList, describeValue, isText, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkEncoding, checkText, type EncodeOptions } from './tokenizer.js'

/** Most special tokens: more are a vocabulary that was given by mistake. */
const MAX_SPECIAL_TOKENS = 10_000

/** Checks the option `special_tokens`. */
export function checkSpecialTokens(given: unknown): string[] {
  const tokens = checkList((given ?? []) as readonly unknown[], 'special_tokens', 'strings')
  if (tokens.length > MAX_SPECIAL_TOKENS)
    throw refuse('special_tokens', `an array of at most ${MAX_SPECIAL_TOKENS} strings`, given)
  const seen = new Set<string>()
  for (const [i, token] of tokens.entries()) {
    if (!isText(token) || token === '')
      throw refuse(`special_tokens[${i}]`, 'a string without lone surrogates, not empty', token)
    if (seen.has(token)) {
      throw new XTransformersError(
        'invalid_argument',
        `special_tokens names ${describeValue(token)} twice: leave one of them out`,
      )
    }
    seen.add(token)
  }
  return tokens as string[]
}

/** A code unit within a class of a regular expression. */
const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

/** Special tokens: they are found in a text before anything else, the longest first. */
export class SpecialTokens {
  readonly ids: ReadonlyMap<string, number>
  readonly #tokens: ReadonlyMap<number, string>
  /** By their first code unit, longer ones first. */
  readonly #byStart = new Map<string, string[]>()
  /** Matches where one may begin; null where there are none. */
  readonly #start: RegExp | null

  constructor(ids: ReadonlyMap<string, number>) {
    this.ids = ids
    this.#tokens = new Map([...ids].map(([token, id]) => [id, token]))
    for (const token of [...ids.keys()].sort((a, b) => b.length - a.length)) {
      const start = token[0] as string
      const others = this.#byStart.get(start)
      if (others) others.push(token)
      else this.#byStart.set(start, [token])
    }
    const starts = [...this.#byStart.keys()].map(escaped).join('')
    this.#start = starts ? new RegExp(`[${starts}]`, 'g') : null
  }

  /** Those of a list, with ids from `first` on. */
  static of(tokens: readonly string[], first: number): SpecialTokens {
    return new SpecialTokens(new Map(tokens.map((token, i) => [token, first + i])))
  }

  tokenOf(id: number): string | null {
    return this.#tokens.get(id) ?? null
  }

  has(id: number): boolean {
    return this.#tokens.has(id)
  }

  /**
   * The ids of a text, as `Tokenizer.encode` gives them: `encodePiece` adds those of what is no
   * special token.
   */
  encode(
    text: string,
    options: EncodeOptions | undefined,
    encodePiece: (piece: string, ids: number[]) => void,
  ): number[] {
    const { split } = checkEncoding(options)
    const whole = checkText(text)
    const ids: number[] = []
    for (const piece of split ? [whole] : this.split(whole)) {
      if (typeof piece === 'number') ids.push(piece)
      else encodePiece(piece, ids)
    }
    return ids
  }

  /** The text between special tokens, none of it empty, and the ids of these, in their order. */
  split(text: string): (string | number)[] {
    if (!this.#start) return text === '' ? [] : [text]
    // of its own: a caller may split another text meanwhile
    const start = new RegExp(this.#start)
    const pieces: (string | number)[] = []
    let from = 0
    for (let found = start.exec(text); found; found = start.exec(text)) {
      const at = found.index
      const token = this.#byStart.get(found[0])?.find((one) => text.startsWith(one, at))
      if (token === undefined) continue
      if (at > from) pieces.push(text.slice(from, at))
      pieces.push(this.ids.get(token) as number)
      from = at + token.length
      start.lastIndex = from
    }
    if (from < text.length) pieces.push(text.slice(from))
    return pieces
  }
}
