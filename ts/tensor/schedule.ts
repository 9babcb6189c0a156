import { XTransformersError } from '../errors.js'
import { Promises } from '../promises.js'

/**
 * One per set of weights. Keeps the order of the program: reads may overlap, a write waits for
 * everything before it, a read waits for the write before it.
 */
export class Gate {
  /**
   * The model, or the handle of the leaf, whose weights these are.
   *
   * @internal Types for ES2020 do not know WeakRef.
   */
  readonly owner: WeakRef<object> | null
  /** The latest write that has not ended. */
  write: Job | null = null
  /** Reads made since then that have not ended. */
  readonly reads = new Set<Job>()

  constructor(owner?: object) {
    this.owner = owner ? new WeakRef(owner) : null
  }
}

/** A set of gates; shared between tensors, never changed after it was made. */
export type Gates = ReadonlySet<Gate>

export const NO_GATES: Gates = new Set()

/** All gates of several sets; the same set again where that is enough. */
export function mergeGates(sets: Iterable<Gates>): Gates {
  let merged = NO_GATES
  for (const set of sets) {
    if (set === merged || set.size === 0) continue
    merged = merged.size === 0 ? set : new Set([...merged, ...set])
  }
  return merged
}

/** A scheduled call. It depends only on earlier ones, so that no two can wait for each other. */
class Job {
  #waiting = 1
  readonly #next: Job[] = []

  constructor(readonly start: () => void) {}

  after(other: Job): void {
    this.#waiting++
    other.#next.push(this)
  }

  /** One thing less to wait for; starts at once when it was the last. */
  release(): void {
    if (--this.#waiting === 0) this.start()
  }

  end(): void {
    for (const job of this.#next.splice(0)) job.release()
  }
}

/**
 * Not by `instanceof`: a page may replace the global `Promise`, as zone.js does, and async
 * functions go on giving the one that was there at first.
 */
const isPending = <T>(value: PromiseLike<T> | T): value is PromiseLike<T> =>
  typeof (value as PromiseLike<T> | null | undefined)?.then === 'function'

/**
 * Runs `run` when its turn has come: at once where the gates are free. A call that fails lets the
 * next one pass.
 *
 * With a signal: an abort before its turn rejects right away, and `run` is never called.
 */
export function schedule<T>(
  reads: Gates,
  writes: Gates,
  run: () => PromiseLike<T> | T,
  signal?: AbortSignal,
): Promise<T> {
  return new Promises<T>((resolve, reject) => {
    let cancelled = false
    const onAbort = () => {
      cancelled = true
      reject(signal?.reason)
    }
    const close = (job: Job) => {
      for (const gate of writes) if (gate.write === job) gate.write = null
      for (const gate of reads) gate.reads.delete(job)
      job.end()
    }
    const job: Job = new Job(() => {
      signal?.removeEventListener('abort', onAbort)
      if (cancelled) return close(job)
      let pending: PromiseLike<T> | T
      try {
        pending = run()
      } catch (error) {
        close(job)
        reject(error)
        return
      }
      if (!isPending(pending)) {
        close(job)
        resolve(pending)
        return
      }
      pending.then(
        (value) => {
          close(job)
          resolve(value)
        },
        (error) => {
          close(job)
          reject(error)
        },
      )
    })
    if (signal?.aborted) return reject(signal.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    queue(job, reads, writes)
    job.release()
  })
}

function queue(job: Job, reads: Gates, writes: Gates): void {
  for (const gate of writes) {
    if (gate.write) job.after(gate.write)
    for (const read of gate.reads) job.after(read)
    gate.reads.clear()
    gate.write = job
  }
  for (const gate of reads) {
    if (writes.has(gate)) continue
    if (gate.write) job.after(gate.write)
    gate.reads.add(job)
  }
}

/** Whether a call with this access would have to wait. */
export function isBusy(reads: Gates, writes: Gates): boolean {
  for (const gate of reads) if (gate.write) return true
  for (const gate of writes) if (gate.write || gate.reads.size > 0) return true
  return false
}

/**
 * Runs `run` now.
 *
 * @throws XTransformersError (`busy`) while a conflicting asynchronous call is pending: a
 *   synchronous one cannot wait
 */
export function scheduleSync<T>(what: string, reads: Gates, writes: Gates, run: () => T): T {
  if (isBusy(reads, writes)) {
    throw new XTransformersError(
      'busy',
      `${what} would have to wait for an asynchronous call on the same weights (forward, backward, step ...): await that call first`,
    )
  }
  return run()
}

/**
 * For small changes such as `zeroGrad()`: at once where the gates are free, else in its place in
 * the order.
 */
export function runOrQueue(writes: Gates, run: () => void): void {
  // nobody waits for it; what can fail here fails in the next call on the same weights too
  if (isBusy(NO_GATES, writes)) schedule(NO_GATES, writes, run).catch(() => {})
  else run()
}
