// Checks of arguments that both sides of a worker make: nothing here may need the native side.
import { XTransformersError } from './errors.js'

/** Checks the `signal` of a call's options. */
export function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined
  const like = signal as AbortSignal
  if (typeof like.aborted === 'boolean' && typeof like.addEventListener === 'function') return like
  throw new XTransformersError('invalid_argument', 'signal must be an AbortSignal')
}

/** Checks the number that `manualSeed` takes. */
export function checkSeed(value: unknown): void {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return
  throw new XTransformersError(
    'invalid_argument',
    `manualSeed takes a whole number from 0 to 2^53 - 1, got ${String(value)}`,
  )
}
