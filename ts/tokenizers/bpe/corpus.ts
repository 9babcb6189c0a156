/** The words of texts and how often they come, for training. */
import { ignoreFailure, refuse } from '../../checks.js'
import { throwIfAborted } from '../../control.js'
import { XTransformersError } from '../../errors.js'
import { SpecialTokens } from '../special-tokens.js'
import { checkText } from '../tokenizer.js'
import { detached } from './cache.js'
import { wordEnd } from './words.js'

/** Milliseconds of work after which others get their turn. */
const TURN = 40

/** Lets timers, messages and signals through in the midst of long work. */
export class Turns {
  readonly signal: AbortSignal | undefined
  readonly #between: () => unknown
  #last = Date.now()

  /** @param between called each time, before the others; a promise of it is awaited */
  constructor(signal: AbortSignal | undefined, between: () => unknown = () => {}) {
    this.signal = signal
    this.#between = between
  }

  /** To be asked once in a while; where it says so, `take()` is to be awaited. */
  get due(): boolean {
    return Date.now() - this.#last > TURN
  }

  async take(): Promise<void> {
    throwIfAborted(this.signal)
    await this.#between()
    await new Promise<void>((resolve) => setTimeout(resolve))
    throwIfAborted(this.signal)
    this.#last = Date.now()
  }
}

/** Texts to train on. */
export type Texts = string | Iterable<string> | AsyncIterable<string>

/** Checks texts; a single one is one of them, and not a series of letters. */
export function checkTexts(texts: Texts): Iterable<string> | AsyncIterable<string> {
  if (typeof texts === 'string') return [texts]
  const walks = (symbol: symbol) =>
    typeof (texts as unknown as Record<symbol, unknown> | null)?.[symbol] === 'function'
  if (typeof texts === 'object' && (walks(Symbol.asyncIterator) || walks(Symbol.iterator)))
    return texts
  throw refuse('texts', 'strings, as an array or what `for await` can walk over', texts)
}

/** As the promise, unless the signal comes first: then nobody waits for it any more. */
function unlessAborted<T>(promise: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    const end = () => signal.removeEventListener('abort', abort)
    signal.addEventListener('abort', abort)
    promise.then(resolve, reject)
    promise.then(end, end)
  })
}

/** The texts, as long as the signal lets them come: it does not wait for the next one. */
async function* arriving(
  texts: Iterable<string> | AsyncIterable<string>,
  signal: AbortSignal | undefined,
): AsyncGenerator<string> {
  if (!signal || !(Symbol.asyncIterator in texts)) return yield* texts
  const iterator = texts[Symbol.asyncIterator]()
  try {
    for (;;) {
      throwIfAborted(signal)
      const { done, value } = await unlessAborted(Promise.resolve(iterator.next()), signal)
      if (done) return
      yield value
    }
  } finally {
    // a generator that waits itself hears of it only when that has ended
    ignoreFailure(() => iterator.return?.())
  }
}

/** Most different words: a Map has room for no more. */
const MAX_WORDS = 2 ** 24 - 1

/** How many words are counted between two looks at the clock. */
const BETWEEN = 4096

/** Counts words. */
export class Corpus {
  readonly counts = new Map<string, number>()
  /** How many texts were read. */
  texts = 0
  readonly #special: SpecialTokens

  constructor(special: readonly string[]) {
    this.#special = SpecialTokens.of(special, 0)
  }

  async read(texts: Iterable<string> | AsyncIterable<string>, turns: Turns): Promise<void> {
    for await (const text of arriving(texts, turns.signal)) {
      if (turns.due) await turns.take()
      for (const piece of this.#special.split(checkText(text, `text ${this.texts}`)))
        if (typeof piece === 'string') await this.#count(piece, turns)
      this.texts++
    }
    if (this.counts.size > 0) return
    throw new XTransformersError(
      'invalid_argument',
      'there is nothing to learn from: no text has a character (an iterator gives its texts once)',
    )
  }

  async #count(text: string, turns: Turns): Promise<void> {
    let words = 0
    for (let at = 0; at < text.length; ) {
      const end = wordEnd(text, at)
      const word = text.slice(at, end)
      const count = this.counts.get(word)
      if (count !== undefined) this.counts.set(word, count + 1)
      else if (this.counts.size < MAX_WORDS) this.counts.set(detached(word), 1)
      else {
        throw new XTransformersError(
          'out_of_memory',
          `the texts have more than ${MAX_WORDS} different words: train on a part of them`,
        )
      }
      at = end
      if (++words % BETWEEN === 0 && turns.due) await turns.take()
    }
  }
}
