// The examples that train, with small settings: each has to reach the goal that it sets itself for
// them, and to notice where it does not.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exampleProgram, TRAINING_EXAMPLES } from '../../scripts/training-examples.mjs'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(name: string, args: string[]) {
  const cwd = mkdtempSync(join(folder, name))
  return new Promise<{ code: number | null; said: string }>((resolve) => {
    const child = spawn(process.execPath, [exampleProgram(name), '--quick', ...args], { cwd })
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data) => {
        said += data
      })
    child.on('close', (code) => resolve({ code, said }))
  })
}

describe.each(TRAINING_EXAMPLES)('examples/%s', (name) => {
  it('reaches its goal', async () => {
    const { code, said } = await run(name, [])
    expect(said).toMatch(/the goal is/)
    expect(code, said).toBe(0)
  }, 240_000)

  it('ends with an error where a model that has learned nothing misses the goal', async () => {
    const { code, said } = await run(name, ['--steps', '1'])
    expect(said).toMatch(/the goal is/)
    expect(code, said).toBe(1)
  })

  it('asks for the data that the tests have', () => {
    const manifest = (path: string) =>
      JSON.parse(readFileSync(new URL(`../../${path}package.json`, import.meta.url), 'utf8'))
    const { version, devDependencies } = manifest('')
    const { 'x-transformers': own, ...data } = manifest(`examples/${name}/`).dependencies
    expect(own).toBe(`^${version}`)
    expect(devDependencies).toMatchObject(data)
  })
})
