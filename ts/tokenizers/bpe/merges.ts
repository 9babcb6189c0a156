import { Heap } from './heap.js'
import { PairTable } from './pair-table.js'

/**
 * Most merges: a merge and a place in a word together are one number (`RANK`), which is exact up to
 * 2^53.
 */
export const MAX_MERGES = 2 ** 21

/** What a merge counts in that number; a word has fewer bytes. */
const RANK = 2 ** 31

const least = (a: number, b: number) => a < b

/** Pairs of ids that become one id, the first ones first. */
export class Merges {
  /** The number of a pair is its rank. */
  readonly #pairs = new PairTable()
  readonly #products: number[] = []

  /** Adds the next merge; false where the pair has one already. */
  add(a: number, b: number, product: number): boolean {
    if (this.#pairs.find(a, b) >= 0) return false
    this.#products[this.#pairs.add(a, b)] = product
    return true
  }

  get size(): number {
    return this.#products.length
  }

  /** The pair of a rank, and what becomes of it. */
  merge(rank: number): [a: number, b: number, product: number] {
    return [this.#pairs.first(rank), this.#pairs.second(rank), this.#products[rank] as number]
  }

  /**
   * Merges the ids of a word: always the pair with the least rank, and of equal ones the first. A
   * heap has all places where something can be merged, so that the time grows with n log n.
   */
  apply(ids: Int32Array): Int32Array {
    if (ids.length < 2) return ids
    const word = new LinkedWord(ids)
    const places: number[] = []
    for (let at = 0; at + 1 < ids.length; at++) {
      const rank = this.#pairs.find(ids[at] as number, ids[at + 1] as number)
      if (rank >= 0) places.push(rank * RANK + at)
    }
    const heap = new Heap(least, places)
    const offer = (at: number): void => {
      const rank = this.#rankAt(word, at)
      if (rank >= 0) heap.push(rank * RANK + at)
    }
    while (heap.size > 0) {
      const top = heap.pop() as number
      const rank = Math.floor(top / RANK)
      const at = top % RANK
      // merged with another one meanwhile
      if (this.#rankAt(word, at) !== rank) continue
      word.merge(at, this.#products[rank] as number)
      offer(at)
      const before = word.before(at)
      if (before >= 0) offer(before)
    }
    return word.left()
  }

  /** The rank of the pair that begins at a place; -1 where there is none. */
  #rankAt(word: LinkedWord, at: number): number {
    const next = word.after(at)
    return next < 0 ? -1 : this.#pairs.find(word.idAt(at), word.idAt(next))
  }
}

/** The ids of a word, each with the places before and after it. */
class LinkedWord {
  readonly #ids: Int32Array
  readonly #next: Int32Array
  readonly #previous: Int32Array
  #length: number

  constructor(ids: Int32Array) {
    this.#ids = ids.slice()
    this.#length = ids.length
    this.#next = new Int32Array(ids.length)
    this.#previous = new Int32Array(ids.length)
    for (let i = 0; i < ids.length; i++) {
      this.#next[i] = i + 1 < ids.length ? i + 1 : -1
      this.#previous[i] = i - 1
    }
  }

  idAt(at: number): number {
    return this.#ids[at] as number
  }

  /** The place after this one; -1 at the end, and where this one was merged into another. */
  after(at: number): number {
    return this.#next[at] as number
  }

  before(at: number): number {
    return this.#previous[at] as number
  }

  /** Puts an id in place of the pair that begins at a place. */
  merge(at: number, id: number): void {
    const gone = this.after(at)
    const next = this.after(gone)
    this.#ids[at] = id
    this.#next[at] = next
    if (next >= 0) this.#previous[next] = at
    this.#next[gone] = -1
    this.#length--
  }

  left(): Int32Array {
    const ids = new Int32Array(this.#length)
    for (let i = 0, at = 0; at >= 0; at = this.after(at)) ids[i++] = this.idAt(at)
    return ids
  }
}
