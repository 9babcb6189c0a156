import { has, isText, refuse } from '../checks.js'
import type { Tokenizer } from '../tokenizers/tokenizer.js'
import { checkStream, examplesOf, type Stream, type StreamLike } from './stream.js'

/**
 * The token ids of texts, each made when it has its turn: for {@link packed}, {@link writeTokens}
 * or a loader.
 *
 * @param texts an array, or a function that gives an iterable each time: `() => textLines(file)`. A
 *   generator itself does for one epoch
 * @throws XTransformersError (`invalid_argument`) where something else than a text comes
 * @example
 * const ids = documents(() => jsonl('corpus.jsonl', { field: 'text' }), new ByteTokenizer())
 */
export function documents(
  texts: StreamLike<string>,
  tokenizer: Pick<Tokenizer, 'encode'>,
): Stream<number[]> {
  checkStream(texts, 'texts')
  if (!has(tokenizer, 'encode')) throw refuse('tokenizer', 'an object with encode(text)', tokenizer)
  return async function* encoded() {
    let i = 0
    for await (const text of examplesOf(texts, 'texts')) {
      if (!isText(text)) throw refuse(`texts[${i}]`, 'a string without lone surrogates', text)
      yield tokenizer.encode(text)
      i++
    }
  }
}
