/** The file `tokenizer.json` of Hugging Face's tokenizers, for byte-level BPE as GPT-2 has it. */
import { describeValue, isRecord } from '../../checks.js'
import { XTransformersError } from '../../errors.js'
import type { Given, Vocabulary } from './vocabulary.js'

/** A `tokenizer.json`, as `JSON.parse` gives it. */
export interface TokenizerJSON {
  readonly version: string
  readonly added_tokens: readonly { readonly id: number; readonly content: string }[]
  readonly model: {
    readonly type: string
    readonly vocab: Readonly<Record<string, number>>
    readonly merges: readonly string[]
    readonly [key: string]: unknown
  }
  readonly [key: string]: unknown
}

const BYTE_LEVEL = {
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
}

/** What else is said of a special token: nothing around it belongs to it. */
const PLAIN = {
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
}

const byId = ([, a]: [string, number], [, b]: [string, number]) => a - b

/** A vocabulary as a `tokenizer.json`. */
export function writeTokenizerJSON({ ids, tokens, special, merges }: Vocabulary): TokenizerJSON {
  const spelled = (rank: number) => {
    const [a, b] = merges.merge(rank)
    return `${tokens[a]} ${tokens[b]}`
  }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...special].sort(byId).map(([content, id]) => ({ id, content, ...PLAIN })),
    normalizer: null,
    pre_tokenizer: BYTE_LEVEL,
    post_processor: null,
    decoder: BYTE_LEVEL,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([...ids].sort(byId)),
      merges: Array.from({ length: merges.size }, (_, rank) => spelled(rank)),
    },
  }
}

/** Settings that change nothing where they are absent, null, false or empty. */
const MODEL = [
  ...['dropout', 'unk_token', 'continuing_subword_prefix', 'end_of_word_suffix'],
  ...['fuse_unk', 'byte_fallback', 'ignore_merges'],
]
const ADDED = ['single_word', 'lstrip', 'rstrip']

const other = (what: string) =>
  new XTransformersError(
    'not_available',
    `this tokenizer.json is no byte-level BPE as GPT-2 has it (${what}): load it with loadTokenizer()`,
  )

const damaged = (message: string) => new XTransformersError('invalid_checkpoint', message)

const recordOf = (value: unknown, what: string) => {
  if (isRecord(value)) return value
  throw damaged(`${what} must be an object, got ${describeValue(value)}`)
}

/**
 * What a `tokenizer.json` says.
 *
 * @throws XTransformersError (`not_available`) where it is a tokenizer of another kind,
 *   (`invalid_checkpoint`) where it is damaged
 */
export function readTokenizerJSON(json: unknown): Given {
  const file = recordOf(json, 'a tokenizer.json')
  const model = recordOf(file.model, 'the model of a tokenizer.json')
  if ((model.type ?? 'BPE') !== 'BPE') throw other(`its model is ${describeValue(model.type)}`)
  const set = MODEL.find((name) => Boolean(model[name]))
  if (set) throw other(`it has ${set}`)
  if (file.normalizer) throw other('it has a normalizer')
  checkByteLevel(file.pre_tokenizer, 'pre_tokenizer')
  checkByteLevel(file.decoder, 'decoder')
  if (file.post_processor) checkByteLevel(file.post_processor, 'post_processor')
  const { vocab, special_tokens } = addedTokens(file.added_tokens, model.vocab)
  return { vocab, merges: model.merges, special_tokens }
}

function checkByteLevel(value: unknown, name: string): void {
  const { type, add_prefix_space, use_regex } = isRecord(value) ? value : {}
  if (type !== 'ByteLevel') throw other(`its ${name} is not ByteLevel`)
  if (name !== 'pre_tokenizer') return
  if (add_prefix_space !== false) throw other('it has add_prefix_space')
  if (use_regex === false) throw other('it has a pattern of its own')
}

/** The special tokens, and the vocabulary with them: only some files have them in both places. */
function addedTokens(given: unknown, vocab: unknown) {
  const tokens = (given ?? []) as unknown
  if (!Array.isArray(tokens))
    throw damaged(`added_tokens must be an array, got ${describeValue(tokens)}`)
  const all = new Map<string, unknown>(Object.entries(recordOf(vocab, 'vocab')))
  const special = tokens.map((token: unknown, i) => {
    const added = recordOf(token, `added_tokens[${i}]`)
    const { content, id } = added
    if (typeof content !== 'string' || content === '')
      throw damaged(`added_tokens[${i}] must have a content, got ${describeValue(content)}`)
    if (added.special !== true || ADDED.some((name) => added[name]))
      throw other(`its added token ${describeValue(content)} is no plain special token`)
    if ((all.get(content) ?? id) !== id)
      throw damaged(`the token ${describeValue(content)} has two ids`)
    all.set(content, id)
    return content
  })
  return { vocab: all, special_tokens: [...new Set(special)] }
}
