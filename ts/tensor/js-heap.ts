import { XTransformersError } from '../errors.js'
import { sizeOf } from './dtype.js'

/** So many values are made into arrays without a question. */
const FEW = 2 ** 20
/** Bytes that a value takes while arrays are made .. */
const VALUE = 16
/** .. and in an array that is so long that engines keep it as a table. */
const VALUE_OF_TABLE = 64
const LONG = 2 ** 25

/**
 * Of addresses, for what the engine takes besides: its code, its threads, room to collect garbage
 * in.
 */
const RESERVE = { part: 16, least: 96 * 2 ** 20, most: 256 * 2 ** 20 }

/** What engines tell of their heap and of the process, where they do. */
interface Engine {
  process?: {
    getBuiltinModule?: (name: string) => unknown
    constrainedMemory?: () => number
    memoryUsage?: { rss?: () => number }
    platform?: string
  }
  performance?: { memory?: { jsHeapSizeLimit: number; usedJSHeapSize: number } }
}

interface V8 {
  getHeapStatistics(): Record<string, number>
}

interface FileSystem {
  readFileSync(path: string, encoding: 'latin1'): string
}

/** The number after a name of a text; `fallback` where there is none, or no file. */
function numberAfter(read: () => string, name: string, fallback: number): number {
  try {
    const found = new RegExp(`^${name}:?\\s+(\\d+)`, 'm').exec(read())
    return found ? Number(found[1]) : fallback
  } catch {
    return fallback
  }
}

/**
 * Bytes that Linux still gives the process: a heap that gets none ends it too, however large it may
 * become.
 */
function leftOnLinux(fs: FileSystem): number {
  const file = (path: string) => () => fs.readFileSync(path, 'latin1')
  const [limits, status, memory] = [
    file('/proc/self/limits'),
    file('/proc/self/status'),
    file('/proc/meminfo'),
  ]
  const of = (limit: string, used: string) => {
    const most = numberAfter(limits, limit, Number.POSITIVE_INFINITY)
    const reserve = Math.min(Math.max(most / RESERVE.part, RESERVE.least), RESERVE.most)
    return most - reserve - numberAfter(status, used, 0) * 1024
  }
  const available = numberAfter(memory, 'MemAvailable', Number.POSITIVE_INFINITY)
  const swap = numberAfter(memory, 'SwapFree', 0)
  return Math.min(
    of('Max address space', 'VmSize'),
    of('Max data size', 'VmData'),
    (available + swap) * 1024,
  )
}

/** Bytes that the system still gives the process; infinite where nobody says. */
function leftOfSystem(process: NonNullable<Engine['process']>): number {
  // of a control group; none is 0, or more than there is
  const limit = process.constrainedMemory?.() || Number.POSITIVE_INFINITY
  const left = limit - (process.memoryUsage?.rss?.() ?? 0)
  if (process.platform !== 'linux') return left
  const fs = process.getBuiltinModule?.('fs') as FileSystem | undefined
  return fs ? Math.min(left, leftOnLinux(fs)) : left
}

/** Bytes that the heap can still grow by; infinite where nobody says. */
function left(): number {
  const { process, performance } = globalThis as Engine
  const v8 = process?.getBuiltinModule?.('v8') as V8 | undefined
  if (process && v8) {
    const { heap_size_limit, used_heap_size } = v8.getHeapStatistics()
    return Math.min(Number(heap_size_limit) - Number(used_heap_size), leftOfSystem(process))
  }
  const memory = performance?.memory
  return memory ? memory.jsHeapSizeLimit - memory.usedJSHeapSize : Number.POSITIVE_INFINITY
}

const inMebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`

/**
 * A heap that is full ends the process: what cannot fit is refused before.
 *
 * @throws XTransformersError (`out_of_memory`) where nested arrays of this shape do not fit into
 *   JavaScript's heap
 */
export function checkHeap(shape: readonly number[]): void {
  const count = sizeOf(shape)
  if (count <= FEW) return
  const needed = count * (Math.max(...shape) > LONG ? VALUE_OF_TABLE : VALUE)
  const available = left()
  if (needed <= available) return
  throw new XTransformersError(
    'out_of_memory',
    `out of memory: nested arrays of shape [${shape.join(', ')}] need ${inMebibytes(needed)} of JavaScript's heap, and ${inMebibytes(Math.max(available, 0))} are available: use data(), which gives a typed array`,
  )
}
