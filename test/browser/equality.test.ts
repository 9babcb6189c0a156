// The same seed gives the same numbers in a browser as in Node with the native addon.
import { beforeAll, describe } from 'vitest'
import { commands } from 'vitest/browser'
import { testEquality } from './equality/compare.js'
import { program, type Results } from './equality/program.mjs'

describe('in a browser, the library', () => {
  let results: { got: Results; want: Results }
  beforeAll(async () => {
    const want = JSON.parse(await commands.runNative())
    results = { got: JSON.parse(JSON.stringify(await program())), want }
  }, 300_000)
  testEquality(() => results)
})
