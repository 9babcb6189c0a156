// Saving under Node's permission model, which forbids most operations on open files: with the built
// package.
import { execFile } from 'node:child_process'
import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { expectNothingElse, expectSaved, LINUX, mode, path, ROOT, root } from './helpers.js'

const PERMISSION =
  Number(process.versions.node.split('.')[0]) < 22 ? '--experimental-permission' : '--permission'

const NATIVE_SIDES: [name: string, flags: string[]][] = [
  ['the addon', ['--allow-addons']],
  ['WebAssembly', []],
]

/**
 * Runs code that may write to `writable` only; `save(path, value)` saves synchronously, and again
 * in the background.
 */
async function run(flags: string[], writable: string, body: string): Promise<unknown> {
  const code = `
    const { full, info, saveTensors, saveTensorsSync } = require(${JSON.stringify(join(root, 'dist/cjs/index.js'))})
    const ways = [saveTensorsSync, saveTensors]
    const save = async (path, value) => {
      for (const way of ways) await way({ x: full([3], value) }, path)
    }
    ;(async () => { ${body} })()`
  const all = [
    PERMISSION,
    '--allow-fs-read=*',
    `--allow-fs-write=${writable}`,
    ...flags,
    '--eval',
    code,
  ]
  const { stdout } = await promisify(execFile)(process.execPath, all)
  return JSON.parse(stdout)
}

describe.each(NATIVE_SIDES)("Node's permission model, with %s", (name, flags) => {
  const target = name === 'the addon' ? 'native' : 'wasm'
  const allowed = (body: string) =>
    run(flags, `${path()}/`, `${body}; console.log(JSON.stringify(info().target))`)

  it('allows saving to a writable folder', async () => {
    expect(await allowed(`await save('${path('new')}', 1)`)).toBe(target)
    expectSaved('new', 1)
    expectNothingElse('new')
  })

  it.runIf(LINUX)('allows replacing a file, which keeps its mode', async () => {
    const bits = 0o604
    writeFileSync(path('old'), 'old')
    chmodSync(path('old'), bits)
    const inode = statSync(path('old')).ino
    const body = `
      const { statSync } = require('fs')
      const inodes = [statSync('${path('old')}').ino]
      for (const way of ways) {
        await way({ x: full([3], 2) }, '${path('old')}')
        inodes.push(statSync('${path('old')}').ino)
      }
      console.log(JSON.stringify(inodes))`
    const inodes = (await run(flags, `${path()}/`, body)) as number[]
    expect(inodes[0]).toBe(inode)
    expect(inodes[1]).not.toBe(inodes[0])
    expect(inodes[2]).not.toBe(inodes[1])
    expectSaved('old', 2)
    expect(mode('old')).toBe(bits)
    expectNothingElse('old')
  })

  it.runIf(LINUX && ROOT)('allows replacing a file, which keeps its owner', async () => {
    writeFileSync(path('old'), 'old')
    const { chownSync } = await import('node:fs')
    chownSync(path('old'), 1234, 2345)
    await allowed(`await save('${path('old')}', 3)`)
    expectSaved('old', 3)
    expect(statSync(path('old'))).toMatchObject({ uid: 1234, gid: 2345 })
  })

  it('allows writing in place if only the file is writable', async () => {
    writeFileSync(path('only'), 'x'.repeat(9000))
    const inode = statSync(path('only')).ino
    const body = `await save('${path('only')}', 4); console.log(JSON.stringify(info().target))`
    expect(await run(flags, path('only'), body)).toBe(target)
    expectSaved('only', 4)
    expect(statSync(path('only')).ino).toBe(inode)
    expect(readdirSync(path())).toEqual(['only'])
  })
})
