import { Promises } from '../../promises.js'

/** Runs one piece of work after another, in the order in which they were given. */
export class Queue {
  #last: Promise<unknown> = Promises.resolve()

  run<T>(work: () => Promise<T> | T): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }
}
