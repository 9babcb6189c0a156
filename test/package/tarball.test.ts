// The packed package in Node: installed into an empty folder, with the platform's addon and
// without.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { promisedLines } from '../docs/blocks.js'
import { type Block, blocksOf, documentation } from '../docs/pages.js'
import { node, type Packed, packed } from './packed.js'

let installed: Packed
beforeAll(async () => {
  installed = await packed()
}, 300_000)

/** The first sample of the README: plain JavaScript, which Node runs unchanged. */
const first = documentation()
  .flatMap(blocksOf)
  .find(({ language }) => language === 'ts') as Block

/** That sample, and a line with the backend. */
function sample(system: 'import' | 'require'): string {
  const { code } = first
  const target = (x: string) => `\nconsole.log(${x}.info().target)\n`
  if (system === 'import') return `${code}\nimport * as $x from 'x-transformers'${target('$x')}`
  const body = code.replace(/^import (\{.*\}) from ('x-transformers')$/m, 'const $1 = require($2)')
  return `async function run() {\n${body}${target("require('x-transformers')")}}\nrun()\n`
}

/** Runs a module in one of the folders. */
async function run(folder: string, name: string, code: string): Promise<string[]> {
  writeFileSync(join(folder, name), code)
  return (await node(folder, name)).trim().split('\n')
}

describe.each(['native', 'wasm'] as const)('the installed package, %s', (target) => {
  it('contains exactly the needed files', () => {
    const modules = join(installed[target], 'node_modules')
    expect(existsSync(join(modules, '@x-transformers'))).toBe(target === 'native')
    const own = (path: string) => existsSync(join(modules, 'x-transformers', path))
    const needed = ['README.md', 'LICENSE', 'CHANGELOG.md', 'docs/options.md']
    expect([...needed, 'dist/cjs', 'dist/esm'].filter((path) => !own(path))).toEqual([])
    const absent = [
      'ts',
      'apps',
      'test',
      'scripts',
      'crates',
      'dist/commands',
      'dist/.stamp',
      'node_modules',
    ]
    expect(absent.filter(own)).toEqual([])
  })

  it("runs the README's first sample with import", async () => {
    const logged = await run(installed[target], 'sample.mjs', sample('import'))
    expect(logged).toEqual([...promisedLines(first), target])
  })

  it("runs the README's first sample with require", async () => {
    const logged = await run(installed[target], 'sample.cjs', sample('require'))
    expect(logged).toEqual([...promisedLines(first), target])
  })

  it('exports the same objects by import and by require, from every entry', async () => {
    const code = `
      import { createRequire } from 'node:module'
      const require = createRequire(import.meta.url)
      const parts = ['train', 'data', 'tokenizers', 'report', 'huggingface'].map((name) => '/' + name)
      for (const part of ['', '/wasm', '/worker', ...parts]) {
        const name = 'x-transformers' + part
        const a = await import(name)
        const b = require(name)
        const names = Object.keys(b)
        console.log(names.length > 3, names.every((key) => a[key] === b[key]), Object.keys(a).sort().join() === names.sort().join())
      }
      console.log((await import('x-transformers')).Decoder === require('x-transformers/wasm').Decoder)
    `
    expect(await run(installed[target], 'same.mjs', code)).toEqual([
      ...Array(8).fill('true true true'),
      'true',
    ])
  })

  it('has the command, in one file, with its presets and the licences of what is in it', async () => {
    const own = join(installed[target], 'node_modules/x-transformers')
    const { bin, workspaces } = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8'))
    expect(workspaces).toBeUndefined()
    const command = join(own, bin['x-transformers'])
    expect(statSync(command).mode & 0o111).not.toBe(0)
    expect(existsSync(join(installed[target], 'node_modules/.bin/x-transformers'))).toBe(true)
    const report = JSON.parse(await node(installed[target], command, 'doctor', '--json'))
    expect(report.backend.target).toBe(target)
    expect(await node(installed[target], command, 'train', '--presets')).toContain('nanogpt-cpu')
    const licences = readFileSync(join(own, 'dist/cli.licences.txt'), 'utf8')
    for (const name of ['commander', 'valibot', 'log-update', 'asciichart'])
      expect(licences).toMatch(new RegExp(`^${name} \\d+\\.`, 'm'))
  })

  it('does nothing in init of x-transformers/wasm', async () => {
    const code = `
      import { info, init } from 'x-transformers/wasm'
      console.log(JSON.stringify(info()))
      await init({ url: 'https://nowhere.invalid/x.wasm' })
      console.log(JSON.stringify(info()))
    `
    const [before, after] = await run(installed[target], 'init.mjs', code)
    expect(after).toBe(before)
    expect(JSON.parse(after as string).target).toBe(target)
  })

  it('starts a worker with x-transformers/worker', async () => {
    const code = `
      import { spawn, tensor } from 'x-transformers/worker'
      const x = await spawn({ threads: 2 })
      const attn_layers = new x.Decoder({ dim: 32, depth: 1, heads: 2, attn_dim_head: 16 })
      const model = new x.AutoregressiveWrapper(new x.TransformerWrapper({ num_tokens: 16, max_seq_len: 8, attn_layers }))
      const optimizer = new x.AdamW(model, { lr: 1e-2 })
      const batch = tensor([[1, 2, 3, 4]], { dtype: 'i64' })
      const step = async () => (await x.trainStep({ model, optimizer, batches: [[batch]] })).loss
      const first = await step()
      for (let i = 0; i < 5; i++) await step()
      const { target, threads } = await x.info()
      console.log((await step()) < first, (await model.net.forward(batch)).shape.join(), target, threads)
      x.terminate()
    `
    expect(await run(installed[target], 'spawn.mjs', code)).toEqual([
      `true 1,4,16 ${target} ${target === 'native' ? 2 : 1}`,
    ])
  })
})
