import { checkIterable, checkOptions, describeValue, isText, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkSpecialTokens, SpecialTokens } from './special-tokens.js'
import {
  checkDecoding,
  checkIds,
  checkPushed,
  checkText,
  type DecodeOptions,
  type EncodeOptions,
  refuseId,
  type SpecialTokenOptions,
  type TextStream,
  type Tokenizer,
  type TokenizerDescription,
} from './tokenizer.js'

/** Options of {@link CharacterTokenizer}. */
export interface CharacterTokenizerOptions extends SpecialTokenOptions {
  /** What is done with a character that has no id: `error`, the default, or `skip`. */
  unknown?: 'error' | 'skip' | undefined
  /**
   * A special token that stands for every character that has no id, in place of `unknown`. It is
   * the first special token where `special_tokens` does not name it.
   */
  unk_token?: string | undefined
}

/** Options of {@link CharacterTokenizer.of}. */
export interface CharacterTokenizerOfOptions extends CharacterTokenizerOptions {
  /** How often a character has to occur to get an id. Default: 1. */
  min_count?: number | undefined
}

const OPTIONS = ['unknown', 'unk_token', 'special_tokens'] as const

/** The order of code points, which is not that of UTF-16. */
const byCodePoint = (a: string, b: string) =>
  (a.codePointAt(0) as number) - (b.codePointAt(0) as number)

const isCharacter = (value: unknown): value is string =>
  isText(value) && value !== '' && String.fromCodePoint(value.codePointAt(0) as number) === value

function checkCharacters(given: Iterable<string>): string[] {
  const list =
    typeof given === 'string' ? [...given] : checkIterable(given, 'characters', 'strings')
  const wrong = list.findIndex((character) => !isCharacter(character))
  if (wrong >= 0)
    throw refuse(
      `characters[${wrong}]`,
      'a string of one code point, no lone surrogate',
      list[wrong],
    )
  return [...new Set(list)].sort(byCodePoint)
}

/** Special tokens with the unknown one, and whether unknown characters are passed over. */
function checkUnknown({ unknown, unk_token, special_tokens }: CharacterTokenizerOptions) {
  const special = checkSpecialTokens(special_tokens)
  const how = unknown ?? 'error'
  if (how !== 'error' && how !== 'skip') throw refuse('unknown', "'error' or 'skip'", how)
  const token = unk_token ?? null
  if (token === null) return { special, token, skip: how === 'skip' }
  if (!isText(token) || token === '')
    throw refuse('unk_token', 'a string without lone surrogates, not empty', token)
  if ((unknown ?? null) !== null) {
    throw new XTransformersError(
      'invalid_options',
      'unknown and unk_token exclude each other: an unknown character becomes unk_token',
    )
  }
  return { special: special.includes(token) ? special : [token, ...special], token, skip: false }
}

/**
 * Characters (code points) as ids, in their order, and special tokens after them.
 *
 * @example
 * const tokenizer = CharacterTokenizer.of('hello')
 * tokenizer.encode('hole') // [1, 3, 2, 0]
 */
export class CharacterTokenizer implements Tokenizer {
  readonly #characters: readonly string[]
  readonly #ids: ReadonlyMap<string, number>
  readonly #special: SpecialTokens
  readonly #unknown: { readonly token: string | null; readonly skip: boolean }

  /**
   * @param characters each once; their order does not count
   * @throws XTransformersError (`invalid_options`, `invalid_argument`)
   */
  constructor(characters: Iterable<string>, options: CharacterTokenizerOptions = {}) {
    const { special, ...unknown } = checkUnknown(
      checkOptions(options, 'CharacterTokenizer', OPTIONS),
    )
    this.#characters = checkCharacters(characters)
    this.#ids = new Map(this.#characters.map((character, id) => [character, id]))
    const both = special.find((token) => this.#ids.has(token))
    if (both !== undefined) {
      throw new XTransformersError(
        'invalid_argument',
        `the special token ${describeValue(both)} is a character of the text as well: name another`,
      )
    }
    this.#special = SpecialTokens.of(special, this.#characters.length)
    this.#unknown = unknown
  }

  /**
   * A tokenizer for the characters of a text.
   *
   * @throws XTransformersError (`invalid_options`, `invalid_argument`)
   */
  static of(text: string, options: CharacterTokenizerOfOptions = {}): CharacterTokenizer {
    const { min_count, ...others } = checkOptions(options, 'CharacterTokenizer.of()', [
      'min_count',
      ...OPTIONS,
    ])
    const least = min_count ?? 1
    if (!Number.isSafeInteger(least) || least < 1)
      throw refuse('min_count', 'a whole number from 1', least)
    const { special } = checkUnknown(others)
    const found = SpecialTokens.of(special, 0)
    const counts = new Map<string, number>()
    for (const piece of found.split(checkText(text))) {
      if (typeof piece === 'number') continue
      for (const character of piece) counts.set(character, (counts.get(character) ?? 0) + 1)
    }
    const common = [...counts].filter(([, count]) => count >= least)
    return made(
      common.map(([character]) => character),
      others,
    )
  }

  get vocabSize(): number {
    return this.#characters.length + this.#special.ids.size
  }

  get specialTokens(): ReadonlyMap<string, number> {
    return this.#special.ids
  }

  /**
   * @throws XTransformersError (`invalid_argument`) for a character that has no id, unless
   *   `unknown` or `unk_token` says otherwise
   */
  encode(text: string, options?: EncodeOptions): number[] {
    return this.#special.encode(text, options, (piece, ids) => this.#encodePiece(piece, ids))
  }

  #encodePiece(text: string, ids: number[]): void {
    const { token, skip } = this.#unknown
    const instead = token === null ? undefined : this.#special.ids.get(token)
    for (const character of text) {
      const id = this.#ids.get(character) ?? instead
      if (id !== undefined) ids.push(id)
      else if (!skip) {
        throw new XTransformersError(
          'invalid_argument',
          `the character ${describeValue(character)} has no id in this tokenizer: make it with unknown: 'skip' or an unk_token, or of a text that has it`,
        )
      }
    }
  }

  /** @throws XTransformersError (`invalid_argument`) for an id that there is not */
  decode(ids: Iterable<number | bigint>, options?: DecodeOptions): string {
    const skip = checkDecoding(options)
    return checkIds(ids)
      .map((id) => this.#textOf(id, skip))
      .join('')
  }

  idOf(token: string): number | null {
    return this.#ids.get(token) ?? this.#special.ids.get(token) ?? null
  }

  tokenOf(id: number): string | null {
    return this.#characters[id] ?? this.#special.tokenOf(id)
  }

  stream(options?: DecodeOptions): TextStream {
    const skip = checkDecoding(options, 'stream()')
    return {
      push: (ids) =>
        checkPushed(ids)
          .map((id) => this.#textOf(id, skip))
          .join(''),
      end: () => '',
    }
  }

  toJSON(): TokenizerDescription {
    const { token, skip } = this.#unknown
    return {
      type: 'characters',
      characters: this.#characters.join(''),
      ...(token === null ? { unknown: skip ? 'skip' : 'error' } : { unk_token: token }),
      special_tokens: [...this.#special.ids.keys()],
    }
  }

  #textOf(id: number, skip: boolean): string {
    const token = this.tokenOf(id)
    if (token === null) throw refuseId(id, this.vocabSize)
    return skip && this.#special.has(id) ? '' : token
  }
}

/** Not said within the class: bundlers rename a class that names itself. */
const made = (characters: Iterable<string>, options: CharacterTokenizerOptions) =>
  new CharacterTokenizer(characters, options)
