// Files that remain if a process ends during a save: with the built package.
import { execFile, spawnSync } from 'node:child_process'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { expectNothingElse, POSIX, path, root } from './helpers.js'

const TEMPORARY = /^\.x-transformers-\d+-\d+-\w+\.tmp$/
const temporaries = () => readdirSync(path()).filter((name) => TEMPORARY.test(name))
const packaged = JSON.stringify(join(root, 'dist/cjs/index.js'))

/**
 * Runs another process that calls `end` after writing the temporary file and before renaming it;
 * returns how it ended.
 */
function interrupted(
  end: string,
  way = 'saveTensors',
): Promise<{ code: number | null; signal: string | null }> {
  const code = `
    const fs = require('fs')
    const { ${way}: save, zeros } = require(${packaged})
    const end = () => { ${end} }
    for (const name of ['ftruncate', 'ftruncateSync']) {
      const before = fs[name]
      fs[name] = (...args) => { const result = before(...args); end(); return result }
    }
    save({ x: zeros([1000]) }, ${JSON.stringify(path('x'))})`
  return new Promise((resolve) => {
    const child = execFile(process.execPath, ['--eval', code])
    child.on('exit', (code, signal) => resolve({ code, signal }))
  })
}

/** Saves in a new process. */
function saveInNewProcess(): void {
  const code = `
    const { zeros, saveTensorsSync } = require(${packaged})
    saveTensorsSync({ x: zeros([1]) }, ${JSON.stringify(path('x'))})`
  expect(spawnSync(process.execPath, ['--eval', code]).status).toBe(0)
}

describe.each(['saveTensors', 'saveTensorsSync'])('a process that ends during %s', (way) => {
  it('leaves no temporary file if it calls process.exit()', async () => {
    writeFileSync(path('x'), 'old')
    expect(await interrupted('process.exit(3)', way)).toEqual({ code: 3, signal: null })
    expect(readFileSync(path('x'), 'utf8')).toBe('old')
    expectNothingElse('x')
  })

  it.runIf(POSIX).each(['SIGINT', 'SIGKILL'])(
    'leaves a temporary file that the next process removes: %s',
    async (signal) => {
      writeFileSync(path('x'), 'old')
      expect(
        (await interrupted(`process.kill(process.pid, '${signal}'); for (;;);`, way)).signal,
      ).toBe(signal)
      expect(readFileSync(path('x'), 'utf8')).toBe('old')
      expect(temporaries()).toHaveLength(1)
      saveInNewProcess()
      expectNothingElse('x')
    },
  )
})

describe('a process that ends during a save in the background', () => {
  it.each([
    ['an error that nobody catches', `process.nextTick(() => { throw new Error('no') })`, 1],
    [
      'a handler of a signal that exits',
      `process.on('SIGTERM', () => process.exit(4)); process.kill(process.pid, 'SIGTERM')`,
      4,
    ],
  ])('leaves nothing behind: %s', async (_, end, code) => {
    // long enough for the process to be killed
    const slowly = `fs.rename = (...args) => setTimeout(() => fs.renameSync(...args), 2000); ${end}`
    expect(await interrupted(slowly)).toEqual({ code, signal: null })
    expectNothingElse()
  })
})

describe('a temporary file of an earlier process', () => {
  /** The name of a temporary file of an ended process. */
  async function leftover(): Promise<string> {
    await interrupted(`process.kill(process.pid, 'SIGKILL'); for (;;);`)
    return temporaries()[0] as string
  }

  it.runIf(POSIX)('is kept if its name does not match exactly, or it is not a file', async () => {
    const name = await leftover()
    const others = [
      `${name}.bak`,
      `a${name}`,
      name.replace('.tmp', ''),
      name.replace('-0-', '-x-'),
      name.toUpperCase(),
    ]
    for (const other of others) writeFileSync(path(other), '')
    const folder = name.replace('-0-', '-1-')
    const link = name.replace('-0-', '-2-')
    mkdirSync(path(folder))
    symlinkSync('x', path(link))
    saveInNewProcess()
    expectNothingElse('x', ...others, folder, link)
  })

  it.runIf(POSIX)('is kept while its process lives, and for a day if that is unknown', async () => {
    const name = await leftover()
    const [, number, rest] = /^\.x-transformers-(\d+)(-.*)$/.exec(name) as unknown as [
      string,
      string,
      string,
    ]
    const alive = `.x-transformers-${process.pid}${rest}`
    const elsewhere = `.x-transformers-${number}${rest.replace(/-\w+_/, '-other_')}`
    for (const other of [alive, elsewhere]) writeFileSync(path(other), '')
    saveInNewProcess()
    expectNothingElse('x', alive, elsewhere)
    const hours = (count: number) => new Date(Date.now() - count * 3_600_000)
    for (const other of [alive, elsewhere]) utimesSync(path(other), hours(23), hours(23))
    saveInNewProcess()
    expectNothingElse('x', alive, elsewhere)
    utimesSync(path(elsewhere), hours(25), hours(25))
    renameSync(path('x'), path('y'))
    saveInNewProcess()
    expectNothingElse('x', 'y', alive)
  })
})

it('saving does not add a process listener each time', async () => {
  const code = `
    const { zeros, saveTensors } = require(${packaged})
    const count = () => process.listenerCount('exit')
    const before = count()
    const all = Array.from({ length: 20 }, (_, i) => saveTensors({ x: zeros([1000]) }, ${JSON.stringify(path())} + '/' + i))
    let most = 0
    const timer = setInterval(() => { most = Math.max(most, count()) }, 0)
    Promise.all(all).then(() => { clearInterval(timer); console.log(JSON.stringify([most - before, count() - before])) })`
  const { stdout } = spawnSync(process.execPath, ['--eval', code], { encoding: 'utf8' })
  expect(JSON.parse(stdout)).toEqual([1, 0])
})
