/** Whether there is room for what JavaScript is to hold. */
import { native } from '#native'
import { fromNative, XTransformersError } from '../errors.js'
import { plainContext } from '../tensor/random.js'

let natively: boolean | null = null

/** WebAssembly knows its own memory alone, and keeps what it has taken. */
function isNative(): boolean {
  natively ??= JSON.parse(native.info()).target === 'native'
  return natively
}

/**
 * In Node a full memory ends the process. The addon knows what the system can still give: it is
 * asked by a tensor of that size, whose memory is not touched.
 *
 * @throws XTransformersError (`out_of_memory`) where `what` needs more bytes than there are
 */
export function requireMemory(bytes: number, what: string): void {
  if (!isNative()) return
  try {
    const shape = JSON.stringify({ shape: [bytes], dtype: 'u8', device: 'cpu' })
    native.op('zeros', [], shape, plainContext(false)).dispose()
  } catch (error) {
    const { code, message } = fromNative(error)
    if (code !== 'out_of_memory') throw error
    const needs = /needs .*$/.exec(message)?.[0] ?? 'does not fit'
    throw new XTransformersError('out_of_memory', `out of memory: ${what} ${needs}`, [], {
      cause: error,
    })
  }
}
