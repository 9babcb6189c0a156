import { EXIT } from './errors.js'

/**
 * npm passes on the Ctrl-C that the terminal has sent already: what comes this soon is the same key
 * press.
 */
const SAME_PRESS_MS = 400

/** The first Ctrl-C asks the program to end in good order, the second ends it at once. */
export class Interrupt {
  readonly #controller = new AbortController()
  #first = 0

  /**
   * @param onFirst says that it was heard
   * @param onForce puts the terminal in order before the process is ended
   */
  constructor(onFirst: () => void = () => {}, onForce: () => void = () => {}) {
    const onSignal = () => {
      const now = performance.now()
      if (!this.requested) {
        this.#first = now
        this.#controller.abort()
        onFirst()
      } else if (now - this.#first > SAME_PRESS_MS) {
        onForce()
        process.exit(EXIT.interrupted)
      }
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  }

  get requested(): boolean {
    return this.#controller.signal.aborted
  }

  /** Aborts at the first Ctrl-C. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }
}
