import { describeValue, isRecord } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { type ChatMessage, type ChatTemplateOptions, renderChat } from './chat.js'
import { WindowStream } from './stream.js'
import {
  checkDecoding,
  checkEncoding,
  checkIds,
  checkText,
  type DecodeOptions,
  type EncodeOptions,
  refuseId,
  type TextStream,
  type Tokenizer,
  type TokenizerDescription,
} from './tokenizer.js'

interface DecodeSettings {
  clean_up_tokenization_spaces?: boolean
}

/** What is used of the package `@huggingface/tokenizers`. */
interface Engine {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] }
  decode(ids: number[], options: DecodeSettings): string
  token_to_id(token: string): number | undefined
  id_to_token(id: number): string | undefined
}

type EngineClass = new (tokenizer: object, config: object) => Engine

/** A `tokenizer.json` and a `tokenizer_config.json`, as `JSON.parse` gives them. */
export interface PretrainedFiles {
  readonly tokenizer: Readonly<Record<string, unknown>>
  readonly config: Readonly<Record<string, unknown>>
}

async function importEngine(): Promise<EngineClass> {
  try {
    // within `try`, so that bundlers know that it may be missing
    const { Tokenizer: engine } = await import('@huggingface/tokenizers')
    return engine
  } catch (error) {
    throw new XTransformersError(
      'not_available',
      'tokenizer.json needs the package @huggingface/tokenizers, which could not be loaded: npm install @huggingface/tokenizers (byte-level BPE alone, as GPT-2 has it, is read by BPETokenizer.load() without it)',
      [],
      { cause: error },
    )
  }
}

const ROLES = ['bos', 'eos', 'pad', 'unk', 'sep', 'cls', 'mask'] as const
type Role = (typeof ROLES)[number]

/** A special token of a configuration: a string, or an object that has it as its content. */
function tokenIn(config: Readonly<Record<string, unknown>>, role: Role): string | null {
  const value = config[`${role}_token`]
  const token = isRecord(value) ? value.content : value
  return typeof token === 'string' && token !== '' ? token : null
}

const damaged = (what: string, cause?: unknown) =>
  new XTransformersError('invalid_checkpoint', what, [], cause === undefined ? {} : { cause })

/** The same with what files of older versions leave out, and with special tokens as strings. */
function completed({ tokenizer, config }: PretrainedFiles): PretrainedFiles {
  const absent = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null }
  const named = ROLES.flatMap((role) => {
    const token = tokenIn(config, role)
    return token === null ? [] : [[`${role}_token`, token] as const]
  })
  return {
    tokenizer: { ...absent, added_tokens: [], ...tokenizer },
    // the engine's default changes blanks before punctuation, so that a text does not come back
    config: { clean_up_tokenization_spaces: false, ...config, ...Object.fromEntries(named) },
  }
}

/** The special tokens of a file that have an id. */
function specialOf(engine: Engine, { tokenizer, config }: PretrainedFiles): Map<string, number> {
  const added = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : []
  const named = ROLES.map((role) => tokenIn(config, role))
  const marked = added.filter((token) => isRecord(token) && token.special === true)
  const special = new Map<string, number>()
  for (const token of [...marked.map(({ content }) => content), ...named]) {
    const id = typeof token === 'string' ? engine.token_to_id(token) : undefined
    if (id !== undefined) special.set(token, id)
  }
  return special
}

/** Most ids of a vocabulary: more are a damaged file, and would take the engine without end. */
const MAX_IDS = 2 ** 24

/** The ids that a vocabulary names: those of an object, or the numbers of a list. */
function* idsIn(vocab: unknown): Generator<unknown> {
  if (Array.isArray(vocab)) yield vocab.length - 1
  else if (isRecord(vocab))
    // one for each language, in some
    for (const id of Object.values(vocab)) yield* isRecord(id) ? Object.values(id) : [id]
}

/** The number of ids of a file; there may be some without a token. */
function sizeOf({ tokenizer }: PretrainedFiles): number {
  const { model, added_tokens } = tokenizer
  let last = -1
  const count = (id: unknown): void => {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= MAX_IDS)
      throw damaged(`the ids of this tokenizer.json are not all ids: ${describeValue(id)}`)
    last = Math.max(last, id as number)
  }
  for (const id of idsIn(isRecord(model) ? model.vocab : null)) count(id)
  for (const token of Array.isArray(added_tokens) ? added_tokens : [])
    count(isRecord(token) ? token.id : token)
  if (last < 0) throw damaged('this tokenizer.json has no vocabulary')
  return last + 1
}

/**
 * A tokenizer of a `tokenizer.json` of Hugging Face, of any kind: `loadTokenizer()` makes it. The
 * package `@huggingface/tokenizers` computes, so that differences from Python are its own.
 */
export class PretrainedTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly specialTokens: ReadonlyMap<string, number>
  readonly #engine: Engine
  readonly #files: PretrainedFiles

  private constructor(engine: Engine, files: PretrainedFiles, vocabSize: number) {
    this.#engine = engine
    this.#files = files
    this.specialTokens = specialOf(engine, files)
    this.vocabSize = vocabSize
  }

  /** @internal */
  static async from(given: PretrainedFiles): Promise<PretrainedTokenizer> {
    if (!isRecord(given.tokenizer) || !isRecord(given.config)) {
      const got = `${describeValue(given.tokenizer)} and ${describeValue(given.config)}`
      throw damaged(`a tokenizer.json and its configuration must be objects, got ${got}`)
    }
    const files = completed(given)
    const size = sizeOf(files)
    const engine = await importEngine()
    try {
      // the engine keeps what it is given
      const { tokenizer, config } = structuredClone(files)
      // not by its name: bundlers rename a class that names itself
      return new this(new engine(tokenizer, config), files, size)
    } catch (error) {
      if (error instanceof XTransformersError) throw error
      throw damaged(`this tokenizer.json cannot be used: ${(error as Error).message}`, error)
    }
  }

  /** The id of the token that begins a text; null where the configuration names none. */
  get bosTokenId(): number | null {
    return this.#idOfRole('bos')
  }

  /** The id of the token that ends a text: `eos_token` of `generate()`. */
  get eosTokenId(): number | null {
    return this.#idOfRole('eos')
  }

  /** The id of the token that fills up rows. */
  get padTokenId(): number | null {
    return this.#idOfRole('pad')
  }

  /** The id of the token for what is in no vocabulary. */
  get unkTokenId(): number | null {
    return this.#idOfRole('unk')
  }

  #idOfRole(role: Role): number | null {
    const token = tokenIn(this.#files.config, role)
    return token === null ? null : this.idOf(token)
  }

  /**
   * The option `split_special_tokens` is an error (`not_available`).
   *
   * @throws XTransformersError (`invalid_argument`) where UTF-8 cannot hold the text, or where the
   *   vocabulary has no token for it
   */
  encode(text: string, options?: EncodeOptions): number[] {
    const { split, add } = checkEncoding(options)
    if (split) {
      throw new XTransformersError(
        'not_available',
        'split_special_tokens is not possible with the tokenizers of loadTokenizer(): BPETokenizer.load() has it, for byte-level BPE',
      )
    }
    const whole = checkText(text)
    const { ids } = this.#guarded(() => this.#engine.encode(whole, { add_special_tokens: add }))
    return ids.map((id) => {
      if (Number.isSafeInteger(id)) return id as number
      throw new XTransformersError(
        'invalid_argument',
        `the text ${describeValue(whole)} has characters that this vocabulary has no token for, and it has no unk_token`,
      )
    })
  }

  /** @throws XTransformersError (`invalid_argument`) for an id that there is not */
  decode(ids: Iterable<number | bigint>, options?: DecodeOptions): string {
    return this.#decode(checkIds(ids), checkDecoding(options), {})
  }

  #decode(ids: readonly number[], skip: boolean, how: DecodeSettings): string {
    const wrong = ids.find((id) => this.tokenOf(id) === null)
    if (wrong !== undefined) throw refuseId(wrong, this.vocabSize)
    // here, and not in the engine, which refuses none, and knows fewer special tokens
    const left = skip ? ids.filter((id) => !this.#isSpecial(id)) : [...ids]
    if (left.length === 0) return ''
    return this.#guarded(() => this.#engine.decode(left, how))
  }

  #isSpecial(id: number): boolean {
    return this.specialTokens.get(this.tokenOf(id) as string) === id
  }

  idOf(token: string): number | null {
    return this.#engine.token_to_id(token) ?? null
  }

  tokenOf(id: number): string | null {
    return this.#engine.id_to_token(id) ?? null
  }

  /** The text is that of `decode()`, but that `clean_up_tokenization_spaces` is never applied. */
  stream(options?: DecodeOptions): TextStream {
    const skip = checkDecoding(options, 'stream()')
    // it would change text that was told already
    const how = { clean_up_tokenization_spaces: false }
    return new WindowStream((ids) => this.#decode(ids, skip, how))
  }

  /**
   * The text of a conversation, as the model was trained on it: by the `chat_template` of the
   * tokenizer. Encode it with `add_special_tokens: false`, since it has its special tokens already.
   *
   * It needs the package `@huggingface/jinja`: `npm install @huggingface/jinja`.
   *
   * @throws XTransformersError (`not_available`: there is no template, or the package is not
   *   installed; `invalid_argument`: the template refuses the messages)
   * @example
   * const messages = [{ role: 'user', content: 'Who are you?' }]
   * const text = await tokenizer.applyChatTemplate(messages, { add_generation_prompt: true })
   * const ids = tokenizer.encode(text, { add_special_tokens: false })
   */
  async applyChatTemplate(
    messages: readonly ChatMessage[],
    options?: ChatTemplateOptions,
  ): Promise<string> {
    const { config } = this.#files
    const special = ROLES.flatMap((role) => {
      const token = tokenIn(config, role)
      return token === null ? [] : [[`${role}_token`, token] as const]
    })
    return await renderChat(config.chat_template, Object.fromEntries(special), messages, options)
  }

  toJSON(): TokenizerDescription {
    return { type: 'pretrained', ...this.#files }
  }

  /** Runs the engine, whose errors are about the file. */
  #guarded<T>(run: () => T): T {
    try {
      return run()
    } catch (error) {
      throw damaged(`this tokenizer cannot do that: ${(error as Error).message}`, error)
    }
  }
}
