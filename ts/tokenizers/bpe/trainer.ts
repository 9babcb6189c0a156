import { Heap } from './heap.js'
import { PairTable } from './pair-table.js'

/** A pair that may be merged next. */
interface Candidate {
  readonly pair: number
  /** How often it came when it was put there: it may have become less since. */
  count: number
  /** Where its first id was. */
  readonly places: number[]
}

/**
 * Byte-pair encoding, learned as Hugging Face's `BpeTrainer` does: the pair that comes most often
 * is merged everywhere; of several the one with the least ids. Counts change with each merge, and
 * are never taken anew.
 *
 * All words lie one after the other, as lists of ids that are linked. A pair knows the places where
 * it was seen; so a merge costs as much as there are places.
 */
export class Trainer {
  readonly #ids: Int32Array
  readonly #next: Int32Array
  readonly #previous: Int32Array
  /** Which word a place belongs to. */
  readonly #word: Int32Array
  /** How often each word comes. */
  readonly #weights: Float64Array
  readonly #pairs = new PairTable()
  /** How often each pair comes, in all texts. */
  readonly #counts: number[] = []
  readonly #heap: Heap<Candidate>

  constructor(words: ReadonlyMap<string, number>, byteIds: Int32Array) {
    const encoder = new TextEncoder()
    const all = [...words].map(([word]) => encoder.encode(word))
    const size = all.reduce((sum, { length }) => sum + length, 0)
    this.#ids = new Int32Array(size)
    this.#next = new Int32Array(size).fill(-1)
    this.#previous = new Int32Array(size).fill(-1)
    this.#word = new Int32Array(size)
    this.#weights = Float64Array.from(words.values())
    const places: number[][] = []
    let at = 0
    for (const [word, bytes] of all.entries()) {
      this.#place(bytes, word, at, byteIds, places)
      at += bytes.length
    }
    const candidates = places.map((found, pair) => this.#candidate(pair, found))
    this.#heap = new Heap(this.#before, candidates)
  }

  /** The ids of a word, and its pairs. */
  #place(bytes: Uint8Array, word: number, start: number, ids: Int32Array, places: number[][]) {
    for (const [i, byte] of bytes.entries()) {
      const at = start + i
      this.#ids[at] = ids[byte] as number
      this.#word[at] = word
      if (i === 0) continue
      this.#previous[at] = at - 1
      this.#next[at - 1] = at
      const pair = this.#count(at - 1, 1)
      const found = places[pair]
      if (found) found.push(at - 1)
      else places[pair] = [at - 1]
    }
  }

  #candidate = (pair: number, places: number[]): Candidate => ({
    pair,
    count: this.#counts[pair] as number,
    places,
  })

  #before = (a: Candidate, b: Candidate): boolean => {
    if (a.count !== b.count) return a.count > b.count
    const [first, other] = [this.#pairs.first(a.pair), this.#pairs.first(b.pair)]
    return first === other ? this.#pairs.second(a.pair) < this.#pairs.second(b.pair) : first < other
  }

  /** Counts the pair that begins at a place once more, or once less. */
  #count(at: number, sign: 1 | -1): number {
    const next = this.#next[at] as number
    const pair = this.#pairs.add(this.#ids[at] as number, this.#ids[next] as number)
    const weight = this.#weights[this.#word[at] as number] as number
    this.#counts[pair] = (this.#counts[pair] ?? 0) + sign * weight
    return pair
  }

  /**
   * The pair that comes most often, with its places; null where none comes `least` times. It is
   * not given again.
   */
  best(least: number): { a: number; b: number; places: number[] } | null {
    for (;;) {
      const top = this.#heap.pop()
      if (!top) return null
      const count = this.#counts[top.pair] as number
      if (top.count !== count) {
        top.count = count
        this.#heap.push(top)
        continue
      }
      if (count < Math.max(1, least)) return null
      const { pair, places } = top
      return { a: this.#pairs.first(pair), b: this.#pairs.second(pair), places }
    }
  }

  /** Puts an id in place of a pair, everywhere. */
  merge({ a, b, places }: { a: number; b: number; places: number[] }, id: number): void {
    const changed = new Map<number, number[]>()
    const note = (at: number): void => {
      const pair = this.#count(at, 1)
      const found = changed.get(pair)
      if (found) found.push(at)
      else changed.set(pair, [at])
    }
    for (const at of inOrder(places)) if (this.#isPair(at, a, b)) this.#mergeAt(at, id, note)
    for (const [pair, found] of changed)
      if ((this.#counts[pair] as number) > 0) this.#heap.push(this.#candidate(pair, found))
  }

  /** Whether the pair is still there: others may have taken its ids. */
  #isPair(at: number, a: number, b: number): boolean {
    const next = this.#next[at] as number
    return this.#ids[at] === a && next >= 0 && this.#ids[next] === b
  }

  #mergeAt(at: number, id: number, note: (at: number) => void): void {
    const before = this.#previous[at] as number
    const gone = this.#next[at] as number
    const after = this.#next[gone] as number
    if (before >= 0) this.#count(before, -1)
    if (after >= 0) this.#count(gone, -1)
    this.#ids[at] = id
    // no id: it is not found again
    this.#ids[gone] = -1
    this.#next[gone] = -1
    this.#next[at] = after
    if (after >= 0) this.#previous[after] = at
    if (before >= 0) note(before)
    if (after >= 0) note(at)
  }
}

/** Places from front to back, where they are not that already. */
function inOrder(places: number[]): number[] {
  const isSorted = places.every((at, i) => i === 0 || (places[i - 1] as number) <= at)
  return isSorted ? places : places.sort((a, b) => a - b)
}
