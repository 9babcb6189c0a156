// What stands for the build with threads where it is left out: bundlers find both files, and the
// worker goes on with one thread.
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../lib.mjs'

const PKG = join(root, 'ts/wasm/pkg')
const WASM = 'x-transformers.threads.wasm'

const GLUE = `export function initSync() {
  throw new Error('the build with threads was not made, for lack of its compiler')
}
`

/** A module with nothing in it. */
const EMPTY = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)

export function writeStub(folder = PKG) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'threads.js'), GLUE)
  writeFileSync(join(folder, WASM), EMPTY)
}

/** Whether the build with threads is only a stub. */
export function isStub(folder = PKG) {
  const file = join(folder, WASM)
  return existsSync(file) && statSync(file).size === EMPTY.length
}
