// WebAssembly in Node, where there is no addon.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Glue } from '../wasm/glue.js'
import { hasRelaxedSimd, type Running, startSingle } from '../wasm/start.js'

/** A folder of this module: of dist/cjs, of ts, or of the program that it was bundled into. */
export const here =
  typeof __dirname === 'string' ? __dirname : process.argv[1] ? dirname(process.argv[1]) : process.cwd()

/** The functions of the module; a bundler that takes them along needs the name in this form. */
function glue(): Glue | null {
  try {
    return require('../wasm/pkg/single.js') as Glue
  } catch {
    return null
  }
}

/** The first of the files that is there. */
function firstOf(readers: readonly (() => Uint8Array)[]): Uint8Array | null {
  for (const read of readers) {
    try {
      return read()
    } catch {
      // the next one
    }
  }
  return null
}

// Tracers look for these very calls. In a bundle the files are in `pkg` beside it, as in one for
// browsers.
const relaxed = () =>
  firstOf([
    () => readFileSync(join(__dirname, '../esm/wasm/pkg/x-transformers.relaxed.wasm')),
    () => readFileSync(join(here, 'pkg/x-transformers.relaxed.wasm')),
  ])

const plain = () =>
  firstOf([
    () => readFileSync(join(__dirname, '../esm/wasm/pkg/x-transformers.wasm')),
    () => readFileSync(join(here, 'pkg/x-transformers.wasm')),
  ])

/** The module, started at once; otherwise why there is none. `cause`: why it is wanted. */
export function loadWasm(cause: string): Running | string {
  if (typeof WebAssembly === 'undefined') return 'this Node runs no WebAssembly (--jitless)'
  const bytes = (hasRelaxedSimd() && relaxed()) || plain()
  const functions = bytes && glue()
  if (!functions) {
    return 'its WebAssembly is not there either (`npm run build:wasm` builds it in the repository; a bundle needs dist/esm/wasm/pkg as `pkg` beside it)'
  }
  try {
    const module = new WebAssembly.Module(bytes as BufferSource)
    return startSingle(functions, module, `Node runs WebAssembly on one thread; ${cause}`)
  } catch (error) {
    return `its WebAssembly does not start: ${(error as Error).message}`
  }
}
