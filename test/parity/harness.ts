// Runs recorded cases and training traces (test/golden/README.md) through the public classes. It
// reads no files, so that it runs in a browser too; fixtures.ts reads them in Node.
import { XTransformersError } from 'x-transformers'
import { type Adapter, type Case, runCase } from './case.js'
import type { Comparison, Observer } from './compare.js'
import { readSafetensors, type Stored } from './safetensors.js'
import { runTrace, type Trace } from './trace.js'

export interface Report {
  status: 'passed' | 'failed' | 'skipped'
  /** Why it failed or was skipped; for a pass, the largest ratio. */
  reason: string
}

function toReport(comparisons: Comparison[]): Report {
  if (!comparisons.length) return { status: 'failed', reason: 'nothing was compared' }
  const worst = comparisons.reduce((a, b) => (b.ratio > a.ratio ? b : a))
  const status = worst.ratio <= 1 ? 'passed' : 'failed'
  return {
    status,
    reason: `${worst.name} ${worst.reason ?? `is at ${worst.ratio.toPrecision(3)} times the tolerance`}`,
  }
}

/**
 * `data`: the safetensors file, as bytes or parsed. `observe` is called with every tensor that is
 * compared. `as`: how a recording of other models becomes one of ours.
 */
export async function runFixture(
  spec: Case | Trace,
  data: Uint8Array | Map<string, Stored>,
  observe: Observer = () => {},
  as?: Adapter,
): Promise<Report> {
  try {
    const tensors = data instanceof Uint8Array ? readSafetensors(data) : data
    return toReport(
      'trace' in spec
        ? await runTrace(spec, tensors, observe)
        : await runCase(spec, tensors, observe, as),
    )
  } catch (error) {
    // A class or an option that this version does not have yet.
    const skipped = error instanceof XTransformersError && error.code === 'not_available'
    return {
      status: skipped ? 'skipped' : 'failed',
      reason: error instanceof Error ? error.message : String(error),
    }
  }
}
