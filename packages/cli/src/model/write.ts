/** Lets a model write text. */
import { type AutoregressiveWrapper, tensor } from 'x-transformers'
import { PretrainedTokenizer, type Tokenizer } from 'x-transformers/tokenizers'
import type { SamplingSettings } from '../arguments.js'
import { StopTexts } from './stop.js'

export interface Writing extends SamplingSettings {
  prompt: string | readonly number[]
  /** The most tokens. */
  tokens: number
  stop?: readonly string[] | undefined
  signal?: AbortSignal | undefined
}

/** Why a text has ended: a text or a token that stops it, or its length. */
export type EndReason = 'stop' | 'length'

export interface Written {
  text: string
  prompt_tokens: number
  tokens: number
  reason: EndReason
}

export interface Writer {
  model: AutoregressiveWrapper
  tokenizer: Tokenizer
}

/** The token that ends a text, where the tokenizer has one. */
function endOf(tokenizer: Tokenizer): number | null {
  const own = tokenizer instanceof PretrainedTokenizer ? tokenizer.eosTokenId : null
  return own ?? tokenizer.specialTokens.get('<|endoftext|>') ?? null
}

/** The ids of a prompt; a model needs one at least. */
export function promptIds(tokenizer: Tokenizer, prompt: string | readonly number[]): number[] {
  const given = typeof prompt === 'string' ? tokenizer.encode(prompt) : [...prompt]
  if (given.length > 0) return given
  const end = endOf(tokenizer)
  if (end !== null) return [end]
  const line = tokenizer.idOf('\n') ?? tokenizer.idOf('Ċ')
  return [line ?? 0]
}

const samplingOptions = (settings: SamplingSettings) => {
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = settings
  const options = {
    temperature: temperature ?? 0.8,
    top_k_tokens: topK,
    nucleus_p: topP,
    min_p: minP,
    repetition_penalty: repetitionPenalty,
    seed,
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/**
 * Goes on from a prompt; `onText` gets each piece of text once it is final, and may be waited for.
 * An abort rejects with the signal's reason.
 */
export async function writeText(
  { model, tokenizer }: Writer,
  writing: Writing,
  onText: (text: string) => unknown = () => {},
): Promise<Written> {
  const ids = promptIds(tokenizer, writing.prompt)
  const end = endOf(tokenizer)
  using start = tensor(ids, { shape: [1, ids.length], dtype: 'i64' })
  const options = {
    ...samplingOptions(writing),
    ...(end !== null && { eos_token: end }),
    ...(writing.signal && { signal: writing.signal }),
  }
  const stops = new StopTexts(writing.stop)
  const decoder = tokenizer.stream({ skip_special_tokens: true })
  let [text, tokens, ended] = ['', 0, false]
  const add = async (piece: string) => {
    if (piece === '') return
    text += piece
    await onText(piece)
  }
  for await (const token of model.stream(start, writing.tokens, options)) {
    tokens++
    ended = token === end
    // ids beyond the tokenizer's, where the model has more, are no text
    if (!ended && token < tokenizer.vocabSize) await add(stops.push(decoder.push(token)))
    if (ended || stops.stopped) break
  }
  if (!stops.stopped) await add(stops.push(decoder.end()))
  await add(stops.end())
  const reason = ended || stops.stopped ? 'stop' : 'length'
  return { text, prompt_tokens: ids.length, tokens, reason }
}
