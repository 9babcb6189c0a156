/**
 * What a call is given besides its arguments: a signal that aborts it, and who is told of progress.
 */
import { checkFunction, refuse } from './checks.js'

/** What every heavy call takes besides its own options. */
export interface CallControl {
  /** Aborts the call: it rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/** How far a read has come, in bytes. */
export interface Progress {
  /** Never more than `total`. */
  loaded: number
  /** Null where the source does not tell its size. In the last call it is equal to `loaded`. */
  total: number | null
}

/** Options of everything that reads bytes. */
export interface ReadOptions {
  /** Ends the reading: the call rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
  /**
   * Called with each piece that has arrived, and at least once at the end. What it throws, the call
   * rejects with.
   */
  on_progress?: ((progress: Progress) => void) | undefined
}

/** Checks the `signal` of a call's options. */
export function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined
  const { aborted, addEventListener, removeEventListener } = signal as AbortSignal
  if (
    typeof aborted === 'boolean' &&
    typeof addEventListener === 'function' &&
    typeof removeEventListener === 'function'
  )
    return signal as AbortSignal
  throw refuse('signal', 'an AbortSignal', signal)
}

/**
 * Rejects as an aborted call does. Not the signal's own method, which those of some test
 * environments do not have.
 */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason
}

/** Checks what everything that reads can be told. */
export function checkReading({ signal, on_progress }: ReadOptions): ReadOptions {
  const checked = checkSignal(signal)
  const progress = on_progress ?? undefined
  if (progress !== undefined) checkFunction(progress, 'on_progress')
  return { ...(checked && { signal: checked }), ...(progress && { on_progress: progress }) }
}
