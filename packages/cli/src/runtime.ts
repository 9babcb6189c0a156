import { cudaInfo, setDefaultDevice, setNumThreads } from 'x-transformers'
import type { RuntimeSettings } from './arguments.js'
import { UsageError } from './errors.js'

/** Sets where the library computes, and on how many threads. */
export function applyRuntime({ device, threads }: RuntimeSettings): void {
  if (threads !== undefined) setNumThreads(threads)
  if (device === undefined) return
  if (device.startsWith('cuda')) {
    const { available, reason } = cudaInfo()
    if (!available) throw new UsageError(`--device ${device}: ${reason}`)
  }
  try {
    setDefaultDevice(device as 'cpu')
  } catch (error) {
    throw new UsageError(`--device: ${(error as Error).message}`)
  }
}
