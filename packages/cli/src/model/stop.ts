/** Ends a text where one of some texts comes; what may be its beginning is held back. */
export class StopTexts {
  readonly #stops: readonly string[]
  #held = ''
  /** Whether one of them has come. */
  stopped = false

  constructor(stops: readonly string[] = []) {
    this.#stops = stops.filter((stop) => stop !== '')
  }

  /** What of the text so far is certain to stay. */
  push(text: string): string {
    if (this.stopped) return ''
    this.#held += text
    const found = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) {
      this.stopped = true
      return this.#take(Math.min(...found))
    }
    return this.#take(this.#held.length - this.#longestBeginning())
  }

  /** What was held back, at the end. */
  end(): string {
    return this.stopped ? '' : this.#take(this.#held.length)
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    return text
  }

  /** The length of the longest end of the text with which one of them begins. */
  #longestBeginning(): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length - 1))
    for (let length = Math.min(longest, this.#held.length); length > 0; length--) {
      const end = this.#held.slice(-length)
      if (this.#stops.some((stop) => stop.startsWith(end))) return length
    }
    return 0
  }
}
