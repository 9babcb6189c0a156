// The same seed gives the same numbers in Node on WebAssembly as with the native addon: the built
// package, in separate processes.
import { beforeAll, describe } from 'vitest'
import { runBuilt } from '../browser/equality/built.js'
import { testEquality } from '../browser/equality/compare.js'
import type { Results } from '../browser/equality/program.mjs'

describe('the library in Node on WebAssembly', () => {
  let results: { got: Results; want: Results }
  beforeAll(async () => {
    results = {
      got: JSON.parse(await runBuilt('wasm')),
      want: JSON.parse(await runBuilt('native')),
    }
  }, 300_000)
  testEquality(() => results)
})
