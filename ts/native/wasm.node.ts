// WebAssembly in Node, where there is no addon.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Glue } from '../wasm/glue.js'
import { hasRelaxedSimd, type Running, startSingle } from '../wasm/start.js'

/** A folder of this module: of dist/cjs, of ts, or of the program that it was bundled into. */
export const here =
  typeof __dirname === 'string'
    ? __dirname
    : process.argv[1]
      ? dirname(process.argv[1])
      : process.cwd()

/** The functions of the module; a bundler that takes them along needs the name in this form. */
function glue(): Glue | null {
  try {
    return require('../wasm/pkg/single.js') as Glue
  } catch {
    return null
  }
}

/** A file, or why none can be read; null for both where there is none. */
interface Found {
  bytes: Uint8Array | null
  refused: Error | null
}

/** The first of the files that can be read. */
function firstOf(readers: readonly (() => Uint8Array)[]): Found {
  let refused: Error | null = null
  for (const read of readers) {
    try {
      return { bytes: read(), refused: null }
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? ''))
        refused ??= error as Error
    }
  }
  return { bytes: null, refused }
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

/** Why a file that may be there is not read, and what helps. */
function unread(error: Error): string {
  const { code, path, resource = path } = error as NodeJS.ErrnoException & { resource?: string }
  const what = `its WebAssembly cannot be read${resource ? ` (${resource})` : ''}: ${error.message}`
  if (code !== 'ERR_ACCESS_DENIED') return what
  return `${what}; --allow-fs-read allows it, for the folder of the package`
}

const ABSENT =
  'its WebAssembly is not there either (`npm run build:wasm` builds it in the repository; a bundle needs dist/esm/wasm/pkg as `pkg` beside it)'

/** The module, started at once; otherwise why there is none. `cause`: why it is wanted. */
export function loadWasm(cause: string): Running | string {
  if (typeof WebAssembly === 'undefined') return 'this Node runs no WebAssembly (--jitless)'
  const better = hasRelaxedSimd() ? relaxed().bytes : null
  const { bytes, refused } = better ? { bytes: better, refused: null } : plain()
  if (refused) return unread(refused)
  const functions = bytes && glue()
  if (!functions) return ABSENT
  try {
    const module = new WebAssembly.Module(bytes as BufferSource)
    return startSingle(functions, module, `Node runs WebAssembly on one thread; ${cause}`)
  } catch (error) {
    return `its WebAssembly does not start: ${(error as Error).message}`
  }
}
