// Tests replace timers, also before the library is loaded: with the built package, in another
// process.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Timers that never fire, like those of sinon, on which Jest's and vitest's are based. */
const STILL = `
  const still = Object.assign(() => ({}), { clock: {} })
  const names = ['setImmediate', 'setTimeout', 'setInterval']
  const replace = (target) => { for (const name of names) target[name] = still }`

const WHEN: Record<string, [before: string, after: string]> = {
  'after the import': ['', 'replace(globalThis); replace(require("timers"))'],
  'before the import': ['replace(globalThis)', ''],
  "before the import, in Node's module too": [
    'replace(globalThis); replace(require("timers"))',
    '',
  ],
  'before the import, where there is no other sign of it': [
    'const plain = () => ({}); for (const name of names) globalThis[name] = plain',
    '',
  ],
}

async function run(addon: string, before: string, after: string): Promise<unknown> {
  const code = `
    ${STILL}
    ${before}
    const x = require('x-transformers')
    ${after}
    ;(async () => {
      const model = new x.Decoder({ dim: 16, depth: 1, heads: 2 })
      const values = []
      for (let i = 0; i < 3; i++) {
        const result = await model.forward(x.ones([1, 3, 16]))
        values.push((await result.data()).length)
      }
      console.log(JSON.stringify([x.info().target, ...values]))
    })()`
  const env = { ...process.env, X_TRANSFORMERS_ADDON: addon }
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', code], {
    cwd: root,
    env,
    timeout: 20_000,
  })
  return JSON.parse(stdout)
}

describe.each([
  ['WebAssembly', 'wasm', 'wasm'],
  ['the addon', '', 'native'],
])('asynchronous calls of %s', (_, addon, target) => {
  it.each(Object.entries(WHEN))(
    'end, and so does the process, if timers never fire: %s',
    async (_, code) => {
      expect(await run(addon, ...code)).toEqual([target, 48, 48, 48])
    },
  )
})
