/**
 * Numbers for pairs of ids, from 0 on in the order in which the pairs came: a hash table with open
 * addressing. A Map would need a key that is one number, which for two ids is no small integer.
 */
export class PairTable {
  #first = new Int32Array(256)
  #second = new Int32Array(256)
  /** For each place the number of its pair and 1; 0 where it is free. At most half are taken. */
  #places = new Int32Array(1024)
  #size = 0

  get size(): number {
    return this.#size
  }

  first(pair: number): number {
    return this.#first[pair] as number
  }

  second(pair: number): number {
    return this.#second[pair] as number
  }

  /** The number of a pair; -1 where it is not there. */
  find(a: number, b: number): number {
    return (this.#places[this.#placeOf(a, b)] as number) - 1
  }

  /** The number of a pair, a new one where it was not there. */
  add(a: number, b: number): number {
    const place = this.#placeOf(a, b)
    const known = (this.#places[place] as number) - 1
    if (known >= 0) return known
    const pair = this.#size++
    if (pair === this.#first.length) this.#grow()
    this.#first[pair] = a
    this.#second[pair] = b
    // growing has moved the places
    this.#places[this.#placeOf(a, b)] = pair + 1
    return pair
  }

  /** The place of a pair, or the free one where it belongs. */
  #placeOf(a: number, b: number): number {
    const mask = this.#places.length - 1
    let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca77)
    hash ^= hash >>> 15
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const pair = (this.#places[place] as number) - 1
      if (pair < 0 || (this.#first[pair] === a && this.#second[pair] === b)) return place
    }
  }

  #grow(): void {
    const capacity = this.#first.length * 2
    this.#first = resized(this.#first, capacity)
    this.#second = resized(this.#second, capacity)
    this.#places = new Int32Array(capacity * 4)
    for (let pair = 0; pair < this.#size - 1; pair++)
      this.#places[this.#placeOf(this.first(pair), this.second(pair))] = pair + 1
  }
}

/** A longer array with the same beginning. */
function resized(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const longer = new Int32Array(length)
  longer.set(array)
  return longer
}
