// Package linters on the tarballs, and the guard of npm publish.
import { beforeAll, describe, expect, it } from 'vitest'
import { wasmSizes } from '../../scripts/pack.mjs'
import { bin, node, type Packed, packed, root } from './packed.js'
// @ts-expect-error: without declarations
import limits from './size-limit.mjs'

let installed: Packed
beforeAll(async () => {
  installed = await packed()
}, 300_000)

/**
 * `node16`: without node10, which does not know `exports` and so finds only the main entry. No Node
 * since 12 resolves that way, and TypeScript has deprecated it. The script of a Worker, an ES
 * module for browsers that nobody requires, is not checked.
 */
const ATTW = [
  '--profile',
  'node16',
  '--exclude-entrypoints',
  'worker/entry',
  '--no-definitely-typed',
  '--format',
  'ascii',
]

describe('the tarballs', () => {
  it('pass publint --strict', async () => {
    for (const { file } of installed.tarballs) {
      expect(await node(installed.folder, bin('publint'), 'run', file, '--strict')).toContain(
        'All good!',
      )
    }
  })

  it('have types that pass attw', async () => {
    const main = installed.tarballs[0]?.file as string
    const said = await node(installed.folder, bin('@arethetypeswrong/cli', 'attw'), main, ...ATTW)
    // the entries that were checked
    expect(said).toContain('"x-transformers"')
    expect(said).toContain('"x-transformers/wasm"')
    expect(said).toContain('"x-transformers/worker"')
  })
})

describe('the WebAssembly files', () => {
  it('have at most 1.32 MB with brotli', async () => {
    // not the highest quality, which takes half a minute and gives even smaller files
    const sizes = await wasmSizes(9)
    console.log(
      sizes
        .map(({ name, size, brotli }) => `${name}: ${size} bytes, with brotli ${brotli}`)
        .join('\n'),
    )
    expect(sizes).toHaveLength(3)
    expect(sizes.filter(({ fits }) => !fits)).toEqual([])
  })
})

describe('what a page gets', () => {
  it('is small for each import', async () => {
    const args = ['--config', 'test/package/size-limit.mjs', '--json']
    const said = await node(root, bin('size-limit'), ...args)
    const sizes = JSON.parse(said) as { name: string; passed: boolean; size: number }[]
    console.log(sizes.map(({ name, size }) => `${name}: ${size} bytes`).join('\n'))
    expect(sizes.map(({ name }) => name)).toEqual(limits.map(({ name }: { name: string }) => name))
    expect(sizes.filter(({ passed }) => !passed)).toEqual([])
  })
})

describe('npm publish in the repository', () => {
  it('is rejected with an explanation', async () => {
    await expect(node(root, 'scripts/pack.mjs', 'refuse')).rejects.toThrow('npm run pack')
  })
})
