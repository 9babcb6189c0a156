import { checkOptions, isRecord, refuse } from '../checks.js'
import type { ReadOptions } from '../control.js'
import { inFolder, type Source } from '../io/sources.js'
import { BPETokenizer } from './bpe/tokenizer.js'
import { ByteTokenizer } from './bytes.js'
import { CharacterTokenizer } from './characters.js'
import { readOptionalBytes } from './optional.js'
import { type PretrainedFiles, PretrainedTokenizer } from './pretrained.js'
import { decoded, readBytes, recordIn } from './read.js'
import { withSpecialTokens } from './special-files.js'
import type { Tokenizer } from './tokenizer.js'

/** The files of a tokenizer. */
export interface TokenizerFiles {
  /** `tokenizer.json` */
  tokenizer: Source
  /** `tokenizer_config.json`, which tells what special tokens are for. */
  config?: Source | undefined
}

const TOKENIZER = 'tokenizer.json'
const CONFIG = 'tokenizer_config.json'
const SPECIAL = 'special_tokens_map.json'
const CHAT = 'chat_template.jinja'

const readJSON = async (source: Source, what: string, options: ReadOptions) =>
  recordIn(await readBytes(source, options), what)

/**
 * The configuration of a folder, with the chat template, which newer ones have beside it, and the
 * special tokens, which older ones have beside it.
 */
async function readConfig(folder: Source, options: ReadOptions) {
  const bytesOf = async (name: string) => {
    const place = await inFolder(folder, name)
    return place === null ? null : await readOptionalBytes(place, options)
  }
  const recordOf = async (name: string) => {
    const bytes = await bytesOf(name)
    return bytes && recordIn(bytes, name)
  }
  const json = await recordOf(CONFIG)
  const special = await recordOf(SPECIAL)
  const template = await bytesOf(CHAT)
  return {
    ...withSpecialTokens(json, special),
    ...(template !== null && { chat_template: decoded(template, CHAT) }),
  }
}

/** Whether it names its files, and is not itself one of them. */
const isFiles = (source: unknown): source is TokenizerFiles =>
  isRecord(source) && Object.hasOwn(source, 'tokenizer')

async function readFiles(
  source: Source | TokenizerFiles,
  options: ReadOptions,
): Promise<PretrainedFiles> {
  if (isFiles(source)) {
    const { tokenizer, config } = checkOptions(source, 'loadTokenizer()', ['tokenizer', 'config'])
    return {
      tokenizer: await readJSON(tokenizer, TOKENIZER, options),
      config: config == null ? {} : await readJSON(config, CONFIG, options),
    }
  }
  const tokenizer = await inFolder(source, TOKENIZER)
  if (tokenizer === null)
    return { tokenizer: await readJSON(source, TOKENIZER, options), config: {} }
  return {
    tokenizer: await readJSON(tokenizer, TOKENIZER, options),
    config: await readConfig(source, options),
  }
}

/**
 * The tokenizer of a model of Hugging Face: its `tokenizer.json`, and its `tokenizer_config.json`
 * where special tokens are to be known by what they are for.
 *
 * It needs the package `@huggingface/tokenizers`: `npm install @huggingface/tokenizers`. For a
 * byte-level BPE as GPT-2 has it, `BPETokenizer.load()` does without.
 *
 * @param source a `tokenizer.json`, both files, or a folder that has them: a path in Node, or an
 *   address that ends in `/`
 * @throws XTransformersError (`file`, `invalid_checkpoint`; `not_available`: the package is not
 *   installed)
 * @example
 * const tokenizer = await loadTokenizer('models/llama')
 * const ids = tokenizer.encode('Call me Ishmael.')
 */
export async function loadTokenizer(
  source: Source | TokenizerFiles,
  options: ReadOptions = {},
): Promise<PretrainedTokenizer> {
  const reading = checkOptions(options, 'loadTokenizer()', ['signal', 'on_progress'])
  return await PretrainedTokenizer.from(await readFiles(source, reading))
}

/** How each kind of description is read. */
const KINDS: Readonly<
  Record<string, (json: Readonly<Record<string, unknown>>) => Tokenizer | Promise<Tokenizer>>
> = {
  bytes: (options) => new ByteTokenizer(options),
  characters: ({ characters, ...options }) => new CharacterTokenizer(characters as string, options),
  bpe: ({ tokenizer }) => BPETokenizer.fromTokenizerJSON(tokenizer),
  pretrained: ({ tokenizer, config }) =>
    PretrainedTokenizer.from({ tokenizer, config } as PretrainedFiles),
}

/**
 * The tokenizer that `toJSON()` of another one describes, such as one that was kept beside a
 * checkpoint.
 *
 * @throws XTransformersError (`invalid_argument`, `invalid_options`, `invalid_checkpoint`) where it
 *   is no such description
 * @example
 * const text = JSON.stringify(tokenizer)
 * const again = await tokenizerFrom(JSON.parse(text))
 */
export async function tokenizerFrom(json: unknown): Promise<Tokenizer> {
  const { type, ...others } = isRecord(json) ? json : {}
  const kind = typeof type === 'string' && Object.hasOwn(KINDS, type) ? KINDS[type] : undefined
  if (kind) return await kind(others)
  const kinds = Object.keys(KINDS).join(', ')
  throw refuse('the description of a tokenizer', `an object whose type is one of ${kinds}`, json)
}
