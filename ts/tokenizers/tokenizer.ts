import { checkFlag, checkOptions, isText, refuse } from '../checks.js'

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /**
   * Whether special tokens that the text spells out, such as `<|endoftext|>`, are encoded as the
   * ordinary text that they are: for text of others, who are not to control the model. Default:
   * false, each of them becomes its id.
   */
  split_special_tokens?: boolean | undefined
  /**
   * Whether the tokens are added that the tokenizer puts around each text, such as `[CLS]`. Only
   * those of `loadTokenizer()` have such. Default: true.
   */
  add_special_tokens?: boolean | undefined
}

/** Options of {@link Tokenizer.decode} and {@link Tokenizer.stream}. */
export interface DecodeOptions {
  /** Whether special tokens are left out of the text. Default: false. */
  skip_special_tokens?: boolean | undefined
}

/** Text that grows with the ids: each piece is final. */
export interface TextStream {
  /**
   * The text that one or several more ids complete; it may be empty. Bytes of a character that is
   * not complete yet are held back.
   *
   * @throws XTransformersError (`invalid_argument`) for an id that the tokenizer does not have
   */
  push(ids: number | bigint | Iterable<number | bigint>): string
  /**
   * What was held back, with U+FFFD for bytes that are no character. The stream begins anew
   * afterwards.
   */
  end(): string
}

/** What {@link Tokenizer.toJSON} gives: plain JSON, which `tokenizerFrom()` reads. */
export interface TokenizerDescription {
  /** The kind of the tokenizer: `bytes`, `characters`, `bpe`, `pretrained`. */
  readonly type: string
  readonly [key: string]: unknown
}

/** What turns text into token ids, and back. */
export interface Tokenizer {
  /** The number of ids, which are whole numbers from 0: `num_tokens` of a model. */
  readonly vocabSize: number
  /** The special tokens with their ids. */
  readonly specialTokens: ReadonlyMap<string, number>
  /**
   * The ids of a text.
   *
   * @throws XTransformersError (`invalid_argument`) where it is no string that UTF-8 can hold
   */
  encode(text: string, options?: EncodeOptions): number[]
  /**
   * The text of ids. Bytes that are no UTF-8 become U+FFFD.
   *
   * @throws XTransformersError (`invalid_argument`) for an id that the tokenizer does not have
   */
  decode(ids: Iterable<number | bigint>, options?: DecodeOptions): string
  /** The id of a token, as the vocabulary spells it; null where there is none. */
  idOf(token: string): number | null
  /** The token of an id, as the vocabulary spells it; null where there is none. */
  tokenOf(id: number): string | null
  /**
   * A decoder for ids that come one by one.
   *
   * @example
   * const text = tokenizer.stream()
   * for (const id of ids) show(text.push(id))
   * show(text.end())
   */
  stream(options?: DecodeOptions): TextStream
  /** A description from which `tokenizerFrom()` makes the same tokenizer again. */
  toJSON(): TokenizerDescription
}

/** Options of tokenizers that have special tokens only where they are asked for. */
export interface SpecialTokenOptions {
  /**
   * Tokens beside those of the text, such as `<|endoftext|>`. Each gets an id, and none of them is
   * ever split. Default: none.
   */
  special_tokens?: readonly string[] | undefined
}

/** Checks a text that is to be encoded. */
export function checkText(text: unknown, what = 'the text'): string {
  if (isText(text)) return text
  throw refuse(what, 'a string without lone surrogates', text)
}

/** Whether the special tokens within a text are to be looked for. */
export function checkEncoding(options: EncodeOptions | undefined) {
  const checked = checkOptions(options, 'encode()', ['split_special_tokens', 'add_special_tokens'])
  return {
    split: checkFlag(checked.split_special_tokens, 'split_special_tokens', false),
    add: checkFlag(checked.add_special_tokens, 'add_special_tokens', true),
  }
}

/** Whether special tokens are left out. */
export function checkDecoding(options: DecodeOptions | undefined, call = 'decode()'): boolean {
  const { skip_special_tokens: skip } = checkOptions(options, call, ['skip_special_tokens'])
  return checkFlag(skip, 'skip_special_tokens', false)
}

const isIterable = (value: unknown): value is Iterable<unknown> =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] === 'function'

/**
 * Ids as plain numbers: those of an array, of a typed array, or of anything that `for` can walk
 * over.
 */
export function checkIds(ids: unknown): number[] {
  if (!isIterable(ids)) throw refuse('ids', 'an array of whole numbers', ids)
  return Array.from(ids, (id, i) => {
    const number = typeof id === 'bigint' ? Number(id) : id
    if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number
    throw refuse(`ids[${i}]`, 'a whole number from 0', id)
  })
}

/** As {@link checkIds}, for one id too. */
export const checkPushed = (ids: unknown): number[] =>
  checkIds(typeof ids === 'number' || typeof ids === 'bigint' ? [ids] : ids)

/** An error about an id that a tokenizer does not have. */
export const refuseId = (id: number, vocabSize: number) =>
  refuse('an id', `a whole number from 0 to ${vocabSize - 1} that has a token`, id)
