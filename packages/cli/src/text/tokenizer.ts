/** Tokenizers of configurations and of runs. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BPETokenizer,
  ByteTokenizer,
  CharacterTokenizer,
  loadTokenizer,
  type Tokenizer,
  tokenizerFrom,
  trainBPE,
} from 'x-transformers/tokenizers'
import type { TokenizerConfig } from '../config/schema.js'
import { UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { readJson } from '../json.js'
import { tokenizerFile } from '../model/files.js'

/** Texts that a tokenizer is made of. */
export type Texts = () => AsyncIterable<string>

const SIMPLE = {
  char: { type: 'char' },
  byte: { type: 'byte' },
  bpe: { type: 'bpe', vocab_size: 1024 },
} as const

/**
 * The tokenizer that a configuration asks for.
 *
 * @param texts what it learns from, where it learns
 */
export async function makeTokenizer(
  config: TokenizerConfig,
  texts: Texts,
  signal?: AbortSignal,
): Promise<Tokenizer> {
  const named = typeof config === 'string' && Object.hasOwn(SIMPLE, config)
  const settings = named ? SIMPLE[config as keyof typeof SIMPLE] : config
  if (typeof settings === 'string') return await readTokenizer(settings)
  if (settings.type === 'byte') return new ByteTokenizer(optionsOf(settings))
  if (settings.type === 'bpe')
    return await trainBPE(texts(), { ...optionsOf(settings), ...(signal && { signal }) })
  return await ofCharacters(optionsOf(settings), texts())
}

const optionsOf = <T extends { type: string }>({ type: _, ...options }: T) => options

type CharacterSettings = Omit<Extract<TokenizerConfig, { type: 'char' }>, 'type'>

/** One for the characters of texts, which are counted, and not kept. */
async function ofCharacters(
  { min_count = 1, ...options }: CharacterSettings,
  texts: AsyncIterable<string>,
): Promise<Tokenizer> {
  const counts = new Map<string, number>()
  for await (const text of texts)
    for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  const common = [...counts].filter(([, times]) => times >= min_count)
  if (common.length === 0) throw new UsageError('data: there is no text to make a tokenizer of')
  return new CharacterTokenizer(
    common.map(([character]) => character),
    // those that are too rare have no id
    { ...(min_count > 1 && { unknown: 'skip' as const }), ...options },
  )
}

/** A tokenizer.json, of this package or of Hugging Face. */
export async function readTokenizer(path: string): Promise<Tokenizer> {
  const json = readJson(path, 'the tokenizer') as Record<string, unknown>
  if (typeof json.type === 'string') return await tokenizerFrom(json)
  try {
    return BPETokenizer.fromTokenizerJSON(json as never)
  } catch {
    // not one as GPT-2 has it: the package of Hugging Face knows the others
    return await loadTokenizer(path)
  }
}

/** Writes a tokenizer beside a model; one of byte pairs as Python's tokenizers read it. */
export function writeTokenizer(tokenizer: Tokenizer, folder: string): void {
  const json = tokenizer instanceof BPETokenizer ? tokenizer.toTokenizerJSON() : tokenizer.toJSON()
  writeFileSync(join(folder, FILES.tokenizer), `${JSON.stringify(json, null, 2)}\n`)
}

/** The tokenizer beside a model, or that of the run that it is in; null where there is none. */
export async function tokenizerOf(model: string): Promise<Tokenizer | null> {
  const path = tokenizerFile(model)
  return path ? await readTokenizer(path) : null
}
