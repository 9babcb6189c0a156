// Worker threads that load the addon start and end while calls run. Each scenario runs in a
// separate process, which must exit by itself.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { bin } from '../../scripts/lib.mjs'

const file = (name: string) => fileURLToPath(new URL(`environments/${name}`, import.meta.url))
const MEGABYTE = 2 ** 20

interface Ended {
  code: number | null
  signal: string | null
  out: string
  errors: string
}

function run(...args: string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args)
    const ended: Ended = { code: null, signal: null, out: '', errors: '' }
    child.stdout.on('data', (text) => {
      ended.out += text
    })
    child.stderr.on('data', (text) => {
      ended.errors += text
    })
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ ...ended, code, signal }))
  })
}

interface Left {
  native: number
  external: number
}

/** Memory that remains if the main thread has loaded the library too. */
async function rounds(settings: object): Promise<Left | null> {
  const { out, ...ended } = await run('--expose-gc', file('rounds.mjs'), JSON.stringify(settings))
  expect(ended).toEqual({ code: 0, signal: null, errors: '' })
  return JSON.parse(out)
}

/** Runs a module in a separate process. */
const inProcess = (code: string) => run('--input-type=module', '--eval', code)

const CALLS = ['forward', 'backward', 'step', 'generate', 'save', 'load']

describe('workers that start and end', () => {
  it('may only import, one after the other', async () => {
    await rounds({ acts: ['import'], rounds: 3 })
  })

  it('may only import, while the main thread has loaded the library', async () => {
    await rounds({ acts: ['import'], rounds: 3, main: true })
  })

  it('may only import, several at the same time', async () => {
    await rounds({ acts: ['import'], rounds: 3, together: 4 })
  })

  it.each(CALLS)('may be terminated during %s', async (act) => {
    await rounds({ acts: [act], rounds: 6 })
  })

  it('may be terminated during all of them, several at the same time', async () => {
    await rounds({ acts: CALLS, rounds: 2, together: 3 })
  })

  it('may exit, and fail, during a call', async () => {
    await rounds({ acts: ['exit', 'throws'], rounds: 3 })
  })

  it('leave no memory allocated', async () => {
    const left = await rounds({ acts: [...CALLS, 'exit', 'throws'], rounds: 3, main: true })
    // each had a model and an optimizer of more than 4 MB
    expect(left?.native).toBeLessThan(MEGABYTE)
    expect(Math.abs(left?.external ?? Number.POSITIVE_INFINITY)).toBeLessThan(4 * MEGABYTE)
  })

  it('work in a test runner', async () => {
    const ended = await run(bin('vitest'), 'run', '--root', file('suite'))
    expect(ended.code, ended.errors + ended.out).toBe(0)
    expect(ended.signal).toBe(null)
    expect(ended.out).toMatch(/3 passed/)
  })
})

const MODEL = `
  import * as x from 'x-transformers'
  const attn_layers = new x.Decoder({ dim: 256, depth: 4, heads: 4 })
  const model = new x.TransformerWrapper({ num_tokens: 256, max_seq_len: 256, attn_layers })
  const ids = x.randint(0, 256, [2, 256])
`

describe('the process', () => {
  it('stays alive while a call is pending, and no longer', async () => {
    const ended = await inProcess(`${MODEL}
      model.forward(ids).then(() => process.stdout.write('computed'))
      process.on('exit', () => process.stdout.write(', ended'))`)
    expect(ended).toEqual({ code: 0, signal: null, out: 'computed, ended', errors: '' })
  })

  it.each([0, 1, 5, 20, 60])('may exit during calls, after %d ms', async (delay) => {
    const ended = await inProcess(`${MODEL}
      for (let i = 0; i < 8; i++) model.forward(ids)
      setTimeout(() => process.exit(7), ${delay})`)
    expect(ended).toEqual({ code: 7, signal: null, out: '', errors: '' })
  })

  it('may load the addon again on the same thread', async () => {
    const ended = await inProcess(`
      import { createRequire } from 'node:module'
      const require = createRequire(${JSON.stringify(import.meta.url)})
      const copies = [1, 2].map(() => {
        for (const path of Object.keys(require.cache)) delete require.cache[path]
        return require('x-transformers')
      })
      const calls = copies.map(async (x) => {
        const model = new x.Decoder({ dim: 16, depth: 1, heads: 1 })
        const output = await model.forward(x.randn([1, 4, 16]))
        await output.sum().backward()
        await new x.AdamW(model.parameters()).step()
      })
      await Promise.all(calls)
      process.stdout.write(String(copies[0].Decoder === copies[1].Decoder))`)
    expect(ended).toEqual({ code: 0, signal: null, out: 'false', errors: '' })
  })
})
