import { native } from '#native'
import { guardedAsync } from '../errors.js'
import type { NativeAbortFlag } from '../native/native.js'
import { whenEnded } from '../promises.js'
import type { TensorHandle } from './handle.js'
import { type Gates, schedule } from './schedule.js'

/** A heavy call: what it touches, and how it is started. */
export interface HeavyCall<T> {
  reads: Gates
  writes: Gates
  /** The tensors it needs; the user may dispose them while the call waits for its turn. */
  inputs?: readonly TensorHandle[]
  signal?: AbortSignal | undefined
  start: (abort: NativeAbortFlag) => Promise<T>
  /**
   * Frees a result that nobody wants because the call was aborted. Absent: what has happened has
   * happened, and it resolves.
   */
  discard?: (value: T) => void
}

/**
 * Runs a heavy call, one into the addon, in its turn, translates its errors, and lets its signal
 * abort it.
 */
export function heavy<T>(call: HeavyCall<T>): Promise<T> {
  return heavySteps({ ...call, start: (abort) => guardedAsync(() => call.start(abort)) })
}

/**
 * As {@link heavy}, for what runs functions of the caller's too: `start` translates the errors of
 * the addon itself, and no others.
 */
export function heavySteps<T>({
  reads,
  writes,
  inputs = [],
  signal,
  start,
  discard,
}: HeavyCall<T>): Promise<T> {
  // all or none
  for (const input of inputs) input.use()
  for (const input of inputs) input.pin()
  let pinned = true
  const unpin = () => {
    if (pinned) for (const input of inputs) input.unpin()
    pinned = false
  }
  const run = async () => {
    const flag = native.abortFlag()
    const onAbort = () => flag.set()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      const pending = start(flag)
      // from here on the native side holds what it needs
      unpin()
      const value = await pending
      if (!signal?.aborted || !discard) return value
      discard(value)
      throw signal.reason
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw error
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }
  return whenEnded(schedule(reads, writes, run, signal), unpin)
}
