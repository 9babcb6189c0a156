import { checkOptions } from '../../checks.js'
import type { ReadOptions } from '../../control.js'
import { type Source, saveTo, type Target } from '../../io/sources.js'
import { parseJSON, readBytes, readText } from '../read.js'
import { checkSpecialTokens, SpecialTokens } from '../special-tokens.js'
import { ByteStream, textOf } from '../stream.js'
import {
  checkDecoding,
  checkIds,
  type DecodeOptions,
  type EncodeOptions,
  refuseId,
  type SpecialTokenOptions,
  type TextStream,
  type Tokenizer,
  type TokenizerDescription,
} from '../tokenizer.js'
import { bytesOfToken } from './byte-level.js'
import { WordCache } from './cache.js'
import { readTokenizerJSON, type TokenizerJSON, writeTokenizerJSON } from './tokenizer-json.js'
import { checkVocabulary, Vocabulary } from './vocabulary.js'
import { wordEnd } from './words.js'

/** What a {@link BPETokenizer} consists of. */
export interface BPETokenizerOptions extends SpecialTokenOptions {
  /**
   * The ids of the tokens. These are written as in GPT-2's `vocab.json`, where each byte is one
   * visible character: `Ġ` stands for a blank. All 256 bytes must have a token.
   */
  vocab: Readonly<Record<string, number>> | ReadonlyMap<string, number>
  /** Pairs of tokens that become one, the first ones first: `'Ġ t'`, or `['Ġ', 't']`. */
  merges: readonly (string | readonly [string, string])[]
}

/** The files of GPT-2. */
export interface GPT2Files {
  /** `vocab.json`, also named `encoder.json`. */
  vocab: Source
  /** `merges.txt`, also named `vocab.bpe`. */
  merges: Source
}

/** Options of {@link BPETokenizer.fromGPT2}. */
export interface FromGPT2Options extends ReadOptions, SpecialTokenOptions {}

const GPT2_END = '<|endoftext|>'
const NOTHING = new Uint8Array(0)

/**
 * Byte-pair encoding of the bytes of UTF-8, as GPT-2 has it: any text can be encoded, and
 * `decode(encode(text))` is the same text. `trainBPE()` makes one of texts.
 *
 * @example
 * const tokenizer = await BPETokenizer.load('tokenizer.json')
 * const ids = tokenizer.encode('Call me Ishmael.')
 */
export class BPETokenizer implements Tokenizer {
  readonly #vocabulary: Vocabulary
  readonly #special: SpecialTokens
  readonly #cache = new WordCache()
  /** The bytes of the ids that were asked for. */
  readonly #bytes: (Uint8Array | undefined)[] = []

  /**
   * @throws XTransformersError (`invalid_options`, `invalid_argument`) where vocabulary, merges and
   *   special tokens do not fit together
   */
  constructor(options: BPETokenizerOptions) {
    this.#vocabulary = options instanceof Vocabulary ? options : checkGiven(options)
    this.#special = new SpecialTokens(this.#vocabulary.special)
  }

  /**
   * GPT-2's own files. `special_tokens` is `['<|endoftext|>']` where the vocabulary has that token.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`)
   * @example
   * const files = { vocab: 'gpt2/vocab.json', merges: 'gpt2/merges.txt' }
   * const tokenizer = await BPETokenizer.fromGPT2(files)
   */
  static async fromGPT2(files: GPT2Files, options: FromGPT2Options = {}): Promise<BPETokenizer> {
    const { vocab, merges } = checkOptions(files, 'fromGPT2()', ['vocab', 'merges'])
    const { special_tokens, ...reading } = checkOptions(options, 'fromGPT2()', [
      'special_tokens',
      'signal',
      'on_progress',
    ])
    const named = special_tokens == null ? null : checkSpecialTokens(special_tokens)
    const ids = parseJSON(await readBytes(vocab, reading), 'the vocabulary')
    const isThere = typeof ids === 'object' && ids !== null && Object.hasOwn(ids, GPT2_END)
    const lines = (await readText(merges, reading)).split(/\r?\n/)
    const given = {
      vocab: ids,
      merges: lines.filter((line) => line !== '' && !line.startsWith('#version')),
      special_tokens: named ?? (isThere ? [GPT2_END] : []),
    }
    return ofVocabulary(checkVocabulary(given, 'invalid_checkpoint'))
  }

  /**
   * A `tokenizer.json` that {@link save} or Python's `tokenizers` has written, of a byte-level BPE
   * as GPT-2 has it. `loadTokenizer()` reads those of all kinds.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`; `not_available`: another kind)
   */
  static async load(source: Source, options: ReadOptions = {}): Promise<BPETokenizer> {
    const reading = checkOptions(options, 'load()', ['signal', 'on_progress'])
    return ofJSON(parseJSON(await readBytes(source, reading), 'tokenizer.json'))
  }

  /**
   * As {@link load}, of what `JSON.parse` has made of the file.
   *
   * @throws XTransformersError (`invalid_checkpoint`; `not_available`: another kind)
   */
  static fromTokenizerJSON(json: unknown): BPETokenizer {
    return ofJSON(json)
  }

  get vocabSize(): number {
    return this.#vocabulary.tokens.length
  }

  get specialTokens(): ReadonlyMap<string, number> {
    return this.#special.ids
  }

  /** @throws XTransformersError (`invalid_argument`) where UTF-8 cannot hold the text */
  encode(text: string, options?: EncodeOptions): number[] {
    return this.#special.encode(text, options, (piece, ids) => this.#encodePiece(piece, ids))
  }

  #encodePiece(text: string, ids: number[]): void {
    for (let at = 0; at < text.length; ) {
      const end = wordEnd(text, at)
      const word = text.slice(at, end)
      for (const id of this.#cache.get(word) ?? this.#encodeWord(word)) ids.push(id)
      at = end
    }
  }

  #encodeWord(word: string): Int32Array {
    const { byteIds, merges } = this.#vocabulary
    const bytes = new TextEncoder().encode(word)
    const ids = merges.apply(Int32Array.from(bytes, (byte) => byteIds[byte] as number))
    this.#cache.set(word, ids)
    return ids
  }

  /** @throws XTransformersError (`invalid_argument`) for an id that there is not */
  decode(ids: Iterable<number | bigint>, options?: DecodeOptions): string {
    const skip = checkDecoding(options)
    return textOf(checkIds(ids).map((id) => this.#bytesOf(id, skip)))
  }

  idOf(token: string): number | null {
    return this.#vocabulary.ids.get(token) ?? null
  }

  tokenOf(id: number): string | null {
    return this.#vocabulary.tokens[id] ?? null
  }

  stream(options?: DecodeOptions): TextStream {
    const skip = checkDecoding(options, 'stream()')
    return new ByteStream((id) => this.#bytesOf(id, skip))
  }

  #bytesOf(id: number, skip: boolean): Uint8Array {
    if (skip && this.#special.has(id)) return NOTHING
    const known = this.#bytes[id]
    if (known) return known
    const token = this.tokenOf(id)
    if (token === null) throw refuseId(id, this.vocabSize)
    const own = this.#special.has(id) ? null : bytesOfToken(token)
    const bytes = own ?? new TextEncoder().encode(token)
    this.#bytes[id] = bytes
    return bytes
  }

  /** A `tokenizer.json`, as Hugging Face's tokenizers read it. */
  toTokenizerJSON(): TokenizerJSON {
    return writeTokenizerJSON(this.#vocabulary)
  }

  /**
   * Writes a `tokenizer.json`, which Hugging Face's tokenizers read, in Python too.
   *
   * @throws XTransformersError (`file`)
   */
  async save(target: Target): Promise<void> {
    await saveTo(target, async () =>
      new TextEncoder().encode(`${JSON.stringify(this.toTokenizerJSON(), null, 1)}\n`),
    )
  }

  toJSON(): TokenizerDescription {
    return { type: 'bpe', tokenizer: this.toTokenizerJSON() }
  }
}

function checkGiven(options: BPETokenizerOptions): Vocabulary {
  const names = ['vocab', 'merges', 'special_tokens']
  const { vocab, merges, special_tokens } = checkOptions(options, 'BPETokenizer', names)
  const given = { vocab, merges, special_tokens: checkSpecialTokens(special_tokens) }
  return checkVocabulary(given, 'invalid_argument')
}

/** A tokenizer of a vocabulary that was checked: only within this library. */
export const ofVocabulary = (vocabulary: Vocabulary): BPETokenizer =>
  new BPETokenizer(vocabulary as unknown as BPETokenizerOptions)

const ofJSON = (json: unknown) =>
  ofVocabulary(checkVocabulary(readTokenizerJSON(json), 'invalid_checkpoint'))
