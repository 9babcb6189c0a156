import { checkFunction, checkOptions, refuse } from '../../checks.js'
import { checkSignal, throwIfAborted } from '../../control.js'
import { checkSpecialTokens } from '../special-tokens.js'
import type { SpecialTokenOptions } from '../tokenizer.js'
import { BYTE_CHARACTERS } from './byte-level.js'
import { Corpus, checkTexts, type Texts, Turns } from './corpus.js'
import { MAX_MERGES } from './merges.js'
import { type BPETokenizer, ofVocabulary } from './tokenizer.js'
import { Trainer } from './trainer.js'
import { checkVocabulary, mergesOf, Vocabulary } from './vocabulary.js'

/** How far a training of a tokenizer has come. */
export interface TrainBPEProgress {
  /** How many texts were read. */
  texts: number
  /** How many tokens the vocabulary has. */
  tokens: number
  /** How many it will have at most. */
  vocab_size: number
}

/** Options of {@link trainBPE}. */
export interface TrainBPEOptions extends SpecialTokenOptions {
  /** Most tokens, special ones and the 256 bytes among them. Default: 30,000. */
  vocab_size?: number | undefined
  /** How often a pair has to come to be merged. Default: 0, which is the same as 1. */
  min_frequency?: number | undefined
  /** Called now and then, and at the end. What it throws, the call rejects with. */
  on_progress?: ((progress: TrainBPEProgress) => void) | undefined
  /** Ends the training: the call rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

const NAMES = ['vocab_size', 'min_frequency', 'special_tokens', 'on_progress', 'signal']

function checkWhole(value: unknown, name: string, least: number, most: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)
    return value as number
  throw refuse(name, `a whole number from ${least} to ${most}`, value, 'invalid_options')
}

function checkTraining(options: TrainBPEOptions) {
  const checked = checkOptions(options, 'trainBPE()', NAMES)
  const special = checkSpecialTokens(checked.special_tokens)
  const least = special.length + BYTE_CHARACTERS.length
  const progress = checked.on_progress ?? undefined
  return {
    special,
    vocab_size: checkWhole(checked.vocab_size ?? 30_000, 'vocab_size', least, MAX_MERGES),
    min_frequency: checkWhole(checked.min_frequency ?? 0, 'min_frequency', 0, 2 ** 53 - 1),
    on_progress: progress && checkFunction(progress, 'on_progress'),
    signal: checkSignal(checked.signal),
  }
}

/** The vocabulary that a training begins with: special tokens, then the bytes. */
function beginning(special: readonly string[]): { tokens: string[]; start: Vocabulary } {
  const bytes = [...BYTE_CHARACTERS].sort()
  const tokens = [...special, ...bytes.filter((character) => !special.includes(character))]
  const vocab = new Map(tokens.map((token, id) => [token, id]))
  const given = { vocab, merges: [], special_tokens: special }
  return { tokens, start: checkVocabulary(given, 'invalid_argument') }
}

/**
 * Learns a byte-pair encoding from texts, with GPT-2's words. The vocabulary is that of Hugging
 * Face's `BpeTrainer` with the alphabet of `ByteLevel`: the special tokens, the 256 bytes, and then
 * what the merges make. Special tokens that stand in the texts separate what is beside them, and
 * are not learned from.
 *
 * The texts are read one after the other; their words stay in memory, each once.
 *
 * @param texts one or several; of an async generator, for those that do not fit into memory
 * @throws XTransformersError (`invalid_options`, `invalid_argument`)
 * @example
 * const tokenizer = await trainBPE(texts, { vocab_size: 1000, special_tokens: ['<|endoftext|>'] })
 * await tokenizer.save('tokenizer.json')
 */
export async function trainBPE(texts: Texts, options: TrainBPEOptions = {}): Promise<BPETokenizer> {
  const { special, vocab_size, min_frequency, on_progress, signal } = checkTraining(options)
  const { tokens, start } = beginning(special)
  const corpus = new Corpus(special)
  const tell = () => on_progress?.({ texts: corpus.texts, tokens: tokens.length, vocab_size })
  const turns = new Turns(signal, tell)
  throwIfAborted(signal)
  await corpus.read(checkTexts(texts), turns)
  const trainer = new Trainer(corpus.counts, start.byteIds)
  const ids = new Map(start.ids)
  const triples: [number, number, number][] = []
  while (tokens.length < vocab_size) {
    if (turns.due) await turns.take()
    const best = trainer.best(min_frequency)
    if (!best) break
    const token = `${tokens[best.a]}${tokens[best.b]}`
    const id = ids.get(token) ?? tokens.length
    // a special token that is spelled as bytes are would stand for two texts
    if (id < special.length) continue
    if (id === tokens.length) tokens.push(token)
    ids.set(token, id)
    triples.push([best.a, best.b, id])
    trainer.merge(best, id)
  }
  await tell()
  throwIfAborted(signal)
  const { byteIds } = start
  return ofVocabulary(new Vocabulary(ids, tokens, start.special, byteIds, mergesOf(triples)))
}
