import { RequestError } from './errors.js'

/** Runs one task after the other: each uses all threads. */
export class Queue {
  readonly #most: number
  readonly #waiting: { start: () => void; signal: AbortSignal }[] = []
  #running = false

  /** @param most how many may wait */
  constructor(most: number) {
    this.#most = most
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Runs a task when it has its turn; one that is aborted before leaves its place.
   *
   * @throws RequestError (429) where too many wait; the reason of the signal
   */
  async run<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    await this.#turn(signal)
    try {
      return await task()
    } finally {
      this.#running = false
      this.#waiting.shift()?.start()
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#running) {
      this.#running = true
      return
    }
    if (this.#waiting.length >= this.#most)
      throw new RequestError(429, 'too many requests are waiting: try again later', null, 'queue')
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(place), 1)
        reject(signal.reason)
      }
      const start = () => {
        signal.removeEventListener('abort', leave)
        this.#running = true
        resolve()
      }
      const place = { start, signal }
      this.#waiting.push(place)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}
