import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Case } from './case.js'
import type { Observer } from './compare.js'
import { type Report, runFixture } from './harness.js'
import type { Trace } from './trace.js'

/** A case or trace of a folder; `spec` is an Error where its JSON cannot be read. */
export interface Fixture {
  name: string
  path: string
  spec: Case | Trace | Error
}

function readSpec(path: string): Case | Trace | Error | null {
  try {
    const json = JSON.parse(readFileSync(path, 'utf8'))
    return json !== null && typeof json === 'object' && ('case' in json || 'trace' in json)
      ? json
      : null
  } catch (error) {
    return error as Error
  }
}

/**
 * The cases and traces of a folder, recognised by their keys `case` and `trace`; other JSON is
 * ignored.
 */
export function listFixtures(folder: string): Fixture[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return files.sort().flatMap((file) => {
    const path = join(folder, file)
    const spec = readSpec(path)
    return spec ? [{ name: file.slice(0, -'.json'.length), path, spec }] : []
  })
}

export async function runFile({ path, spec }: Fixture, observe?: Observer): Promise<Report> {
  if (spec instanceof Error)
    return { status: 'failed', reason: `its JSON cannot be read: ${spec.message}` }
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path.replace(/\.json$/, '.safetensors'))
  } catch (error) {
    return { status: 'failed', reason: `its tensors cannot be read: ${(error as Error).message}` }
  }
  return runFixture(spec, bytes, observe)
}
