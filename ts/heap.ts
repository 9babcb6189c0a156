import { XTransformersError } from './errors.js'

/** So many values are made into arrays without a question. */
const FEW = 2 ** 20
/** Bytes that a value takes while arrays are made .. */
const VALUE = 16
/** .. and in an array that is so long that engines keep it as a table. */
const VALUE_OF_TABLE = 64
const LONG = 2 ** 25

/** What engines tell of their heap, where they do. */
interface Engine {
  process?: { getBuiltinModule?: (name: string) => { getHeapStatistics(): Record<string, number> } | undefined }
  performance?: { memory?: { jsHeapSizeLimit: number; usedJSHeapSize: number } }
}

/** Bytes that the heap can still grow by; infinite where nobody says. */
function left(): number {
  const { process, performance } = globalThis as Engine
  const statistics = process?.getBuiltinModule?.('v8')?.getHeapStatistics()
  if (statistics) return Number(statistics.heap_size_limit) - Number(statistics.used_heap_size)
  const memory = performance?.memory
  return memory ? memory.jsHeapSizeLimit - memory.usedJSHeapSize : Number.POSITIVE_INFINITY
}

const inMebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`

/**
 * A heap that is full ends the process: what cannot fit is refused before.
 *
 * @throws XTransformersError (`out_of_memory`) where nested arrays of this shape do not fit into JavaScript's heap
 */
export function checkHeap(shape: readonly number[]): void {
  const count = shape.reduce((a, b) => a * b, 1)
  if (count <= FEW) return
  const needed = count * (Math.max(...shape) > LONG ? VALUE_OF_TABLE : VALUE)
  const available = left()
  if (needed <= available) return
  throw new XTransformersError(
    'out_of_memory',
    `out of memory: nested arrays of shape [${shape.join(', ')}] need ${inMebibytes(needed)} of JavaScript's heap, and ${inMebibytes(Math.max(available, 0))} are available: use data(), which gives a typed array`,
  )
}
