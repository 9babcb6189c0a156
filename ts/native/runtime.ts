import { native, running } from '#native'
import { describeValue } from '../checks.js'
import { guarded, XTransformersError } from '../errors.js'

/** Calls of an operation that has no version of its own for a device and type: they are slow. */
export interface Fallback {
  /** The operation, such as `softmax`. */
  kernel: string
  /** The kind of device. */
  device: 'cpu' | 'cuda'
  /** The type of its first operand, such as `f16`. */
  dtype: string
  /** How many there were since the process began. */
  count: number
}

/** What {@link info} tells. */
export interface RuntimeInfo {
  /** Version of the native side. */
  version: string
  /** What it was built for. */
  target: 'native' | 'wasm'
  /** How many threads it uses. */
  threads: number
  /** In WebAssembly: why so many. */
  threads_reason?: string
  /**
   * In WebAssembly: which of the builds runs. `relaxed` is faster, `threads` uses several cores.
   */
  build?: 'plain' | 'relaxed' | 'threads'
  /** Whether this build can use GPUs; {@link cudaIsAvailable} tells whether there is one. */
  cuda: boolean
  /**
   * The operations that were computed by a plain version, since there is no other for their type on
   * their device. On the CPU, f32 and f64 have one for all; half precision has a few.
   */
  fallbacks: Fallback[]
}

/** What computes here. */
export function info(): RuntimeInfo {
  const { simd: _, ...known } = JSON.parse(native.info())
  return { ...known, ...running }
}

/** More are a slip rather than a machine. */
const MAX_THREADS = 1024

/**
 * Sets how many threads share the work of all calls that begin later, in the whole process. Unless
 * set, there are as many as the process may use processors: the limits of a container (cgroups) and
 * of `taskset` count, and so does the environment variable `RAYON_NUM_THREADS`.
 *
 * Models that run at the same time share these threads. Results do not depend on how many there
 * are.
 *
 * @param count a whole number from 1 to 1,024
 * @throws XTransformersError (`invalid_argument`) for any other value; (`not_available`) in
 *   WebAssembly, where `spawn({ threads })` sets it
 */
export function setNumThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > MAX_THREADS) {
    throw new XTransformersError(
      'invalid_argument',
      `setNumThreads takes a whole number from 1 to ${MAX_THREADS}, got ${describeValue(count)}`,
    )
  }
  guarded(() => native.setNumThreads(count))
}

/** A GPU, as the driver describes it. */
export interface CudaDevice {
  /** As in `cuda:0`. */
  index: number
  name: string
  /** Such as `9.0`; 8.0 is needed. */
  compute_capability: string
  memory_bytes: number
  /** Why it cannot be used; null where it can. */
  reason: string | null
}

/** What {@link cudaInfo} tells. */
export interface CudaInfo {
  /** Whether one of the devices can be used. */
  available: boolean
  /** Why none can be used; null where one can. */
  reason: string | null
  /** The CUDA version that the driver supports; null without a driver. */
  driver: string | null
  /**
   * The file of cuBLASLt, a library of NVIDIA's for matrix products; null where none was found. It
   * is not needed. The variable `XT_CUBLAS` names the file or its folder.
   */
  cublas_lt: string | null
  devices: CudaDevice[]
}

/**
 * The NVIDIA driver and its GPUs, looked up once in a process.
 *
 * @example
 * const { available, reason } = cudaInfo()
 * if (!available) console.log(reason)
 */
export function cudaInfo(): CudaInfo {
  return JSON.parse(guarded(() => native.cudaInfo())) as CudaInfo
}

/** Whether models can be moved to a GPU; {@link cudaInfo} tells why not. */
export function cudaIsAvailable(): boolean {
  return cudaInfo().available
}
