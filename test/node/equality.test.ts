// The same seed gives the same numbers in Node without the native addon, on WebAssembly, as with
// it: the built package, in processes of their own.
import { beforeAll, describe } from 'vitest'
import { runBuilt } from '../browser/equality/built.js'
import { itEquals } from '../browser/equality/compare.js'
import type { Results } from '../browser/equality/program.mjs'

describe('in Node on WebAssembly, the library', () => {
  let results: { got: Results; want: Results }
  beforeAll(async () => {
    results = {
      got: JSON.parse(await runBuilt('wasm')),
      want: JSON.parse(await runBuilt('native')),
    }
  }, 300_000)
  itEquals(() => results)
})
