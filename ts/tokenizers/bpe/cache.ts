/** Most words of a generation. */
const GENERATION = 2 ** 15

/** Longest word that is kept: longer ones seldom come again. */
const MAX_LENGTH = 64

/**
 * The ids of words that came before, bounded: when the young generation is full it becomes the old
 * one, which is forgotten. A word that is found among the old ones is young again.
 */
export class WordCache {
  #young = new Map<string, Int32Array>()
  #old = new Map<string, Int32Array>()

  get(word: string): Int32Array | undefined {
    const young = this.#young.get(word)
    if (young || word.length > MAX_LENGTH) return young
    const old = this.#old.get(word)
    if (old) this.set(word, old)
    return old
  }

  set(word: string, ids: Int32Array): void {
    if (word.length > MAX_LENGTH) return
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(detached(word), ids)
  }
}

/** Shortest part of a string that V8 does not copy, but keeps as a view of the whole. */
const VIEW = 13

/** The same string without the text that it was cut from: what keeps one would keep the other. */
export const detached = (word: string): string =>
  word.length < VIEW
    ? word
    : new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(word))
