// What a process leaves behind that ends in the middle of a save: with the built package.
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
 * Another process that runs `end` when the content has been written, but has not taken its place;
 * what ended it.
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

/** Saves in a process that has never seen the folder. */
function saveAnew(): void {
  const code = `
    const { zeros, saveTensorsSync } = require(${packaged})
    saveTensorsSync({ x: zeros([1]) }, ${JSON.stringify(path('x'))})`
  expect(spawnSync(process.execPath, ['--eval', code]).status).toBe(0)
}

describe.each(['saveTensors', 'saveTensorsSync'])('a process that ends within %s', (way) => {
  it('leaves nothing behind where it calls process.exit()', async () => {
    writeFileSync(path('x'), 'old')
    expect(await interrupted('process.exit(3)', way)).toEqual({ code: 3, signal: null })
    expect(readFileSync(path('x'), 'utf8')).toBe('old')
    expectNothingElse('x')
  })

  it.runIf(POSIX).each(['SIGINT', 'SIGKILL'])(
    'leaves a file that the next process removes: %s',
    async (signal) => {
      writeFileSync(path('x'), 'old')
      expect(
        (await interrupted(`process.kill(process.pid, '${signal}'); for (;;);`, way)).signal,
      ).toBe(signal)
      expect(readFileSync(path('x'), 'utf8')).toBe('old')
      expect(temporaries()).toHaveLength(1)
      saveAnew()
      expectNothingElse('x')
    },
  )
})

describe('a process that ends within a save in the background', () => {
  it.each([
    ['an error that nobody catches', `process.nextTick(() => { throw new Error('no') })`, 1],
    [
      'a handler of a signal that exits',
      `process.on('SIGTERM', () => process.exit(4)); process.kill(process.pid, 'SIGTERM')`,
      4,
    ],
  ])('leaves nothing behind: %s', async (_, end, code) => {
    // long enough for what ends it
    const slowly = `fs.rename = (...args) => setTimeout(() => fs.renameSync(...args), 2000); ${end}`
    expect(await interrupted(slowly)).toEqual({ code, signal: null })
    expectNothingElse()
  })
})

describe('what an earlier process has left', () => {
  /** The name of a file that an ended process has left. */
  async function leftover(): Promise<string> {
    await interrupted(`process.kill(process.pid, 'SIGKILL'); for (;;);`)
    return temporaries()[0] as string
  }

  it.runIf(POSIX)('stays where its name is not exactly ours, or it is no file', async () => {
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
    saveAnew()
    expectNothingElse('x', ...others, folder, link)
  })

  it.runIf(POSIX)('stays while its process lives, and for a day where nobody knows', async () => {
    const name = await leftover()
    const [, number, rest] = /^\.x-transformers-(\d+)(-.*)$/.exec(name) as unknown as [
      string,
      string,
      string,
    ]
    const alive = `.x-transformers-${process.pid}${rest}`
    const elsewhere = `.x-transformers-${number}${rest.replace(/-\w+_/, '-other_')}`
    for (const other of [alive, elsewhere]) writeFileSync(path(other), '')
    saveAnew()
    expectNothingElse('x', alive, elsewhere)
    const hours = (count: number) => new Date(Date.now() - count * 3_600_000)
    for (const other of [alive, elsewhere]) utimesSync(path(other), hours(23), hours(23))
    saveAnew()
    expectNothingElse('x', alive, elsewhere)
    utimesSync(path(elsewhere), hours(25), hours(25))
    renameSync(path('x'), path('y'))
    saveAnew()
    expectNothingElse('x', 'y', alive)
  })
})

it('does not add a listener for each save', async () => {
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
