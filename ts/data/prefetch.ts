/** Batches that are made ahead of their turn. */
import { ignoreFailure, ignoreRejection } from '../checks.js'
import { tensorsIn } from '../tensor/memory.js'
import type { Part, Parts, Place } from './parts.js'

/** A batch that was made, or the end of an epoch. */
export interface Made<Batch> {
  batch: { value: Batch; free: () => void } | null
  next: Place
}

/** Batches of one iteration, of which some are made ahead, in their order. */
export class Prefetcher<Example, Batch> {
  readonly #parts: Parts<Example>
  readonly #collate: (examples: readonly Example[]) => Batch | Promise<Batch>
  readonly #ahead: number
  /** What was begun and not taken, in order; null: there is nothing more. */
  #begun: Promise<Made<Batch> | null>[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #stopped = false

  constructor(
    parts: Parts<Example>,
    collate: (examples: readonly Example[]) => Batch | Promise<Batch>,
    ahead: number,
  ) {
    this.#parts = parts
    this.#collate = collate
    this.#ahead = ahead
  }

  get stopped(): boolean {
    return this.#stopped
  }

  /** The next batch or end of an epoch; null behind the last one. */
  async take(): Promise<Made<Batch> | null> {
    clearTimeout(this.#timer)
    const waits = this.#begun.length === 0
    if (waits) this.#begin()
    const first = this.#begun.shift() as Promise<Made<Batch> | null>
    // at once where the caller has to wait anyway; else once it has had the time to start a step,
    // beside which they are made
    if (waits) this.#fill()
    else if (this.#ahead > 0) this.#timer = setTimeout(() => this.#fill())
    return await first
  }

  /** Frees what was made and not taken, and ends what is being read. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const made of this.#begun) {
      made.then(
        (result) => result?.batch?.free(),
        () => {},
      )
    }
    this.#begun = []
    ignoreFailure(() => this.#parts.return())
  }

  #fill(): void {
    while (!this.#stopped && this.#begun.length < this.#ahead) this.#begin()
  }

  #begin(): void {
    const made = this.#make()
    // an error is told when it has its turn
    ignoreRejection(made)
    this.#begun.push(made)
  }

  async #make(): Promise<Made<Batch> | null> {
    const step = await this.#parts.next()
    if (step.done) return null
    const { examples, next }: Part<Example> = step.value
    if (examples === null) return { batch: null, next }
    const list = await examples()
    const value = await this.#collate(list)
    return { batch: { value, free: () => freeBatch(value, list) }, next }
  }
}

/** Frees the tensors of a batch, but for those that its examples have. */
function freeBatch(batch: unknown, examples: readonly unknown[]): void {
  const given = tensorsIn(examples)
  for (const handle of tensorsIn(batch)) if (!handle.live && !given.has(handle)) handle.dispose()
}
