// Saving from processes of other users, and to redirected output: with the built package.
import { execFile, execFileSync } from 'node:child_process'
import fs, { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { loadTensorsSync } from 'x-transformers'
import {
  expectNothingElse,
  expectSaved,
  LINUX,
  mode,
  POSIX,
  path,
  ROOT,
  root,
  top,
} from './helpers.js'

/**
 * Runs code with the built package in another process; `save(path, value)` saves in the given way.
 */
const program = (way: string, body: string) => `
  const { full, saveTensors, saveTensorsSync } = require('x-transformers')
  const save = async (path, value) => {
    const tensors = new Map([['x', full([3], value)]])
    await (${way === 'synchronously'} ? saveTensorsSync(tensors, path) : saveTensors(tensors, path))
  }
  const told = (pending) => pending.then(() => 'saved', (error) => error.code + ': ' + error.message)
  ;(async () => { ${body} })()
`

async function run(way: string, body: string, ...args: string[]): Promise<string> {
  const options = { cwd: root, encoding: 'buffer' as const }
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['-e', program(way, body), ...args],
    options,
  )
  return stdout.toString('latin1')
}

/** Loaded as root, which may read the package anywhere. */
const NOBODY = 'process.setgroups([]); process.setgid(65534); process.setuid(65534);'

describe.each(['in the background', 'synchronously'])('another process that saves %s', (way) => {
  it.runIf(POSIX)('writes to its standard output: a pipe, a socket and a shared file', async () => {
    const out = await run(way, `await save('/dev/stdout', 5)`)
    writeFileSync(path('from-socket'), Buffer.from(out, 'latin1'))
    expectSaved('from-socket', 5)
    execFileSync(
      'sh',
      [
        '-c',
        `"$0" -e "$1" | cat > "$2"`,
        process.execPath,
        program(way, `await save('/dev/stdout', 6)`),
        path('from-pipe'),
      ],
      { cwd: root },
    )
    expectSaved('from-pipe', 6)
    const body = `require('fs').writeSync(1, 'before '); await save('/dev/stdout', 7); require('fs').writeSync(1, ' after')`
    execFileSync(
      'sh',
      [
        '-c',
        `echo -n 'old ' > "$2"; "$0" -e "$1" >> "$2"`,
        process.execPath,
        program(way, body),
        path('log'),
      ],
      { cwd: root },
    )
    const log = readFileSync(path('log'))
    expect(log.toString('latin1')).toMatch(/^old before .* after$/s)
    writeFileSync(path('inner'), log.subarray('old before '.length, -' after'.length))
    expectSaved('inner', 7)
  })

  it.runIf(POSIX)('waits for a slow reader', async () => {
    const body = `
      const { saveTensors, saveTensorsSync, zeros } = require('x-transformers')
      await (${way === 'synchronously'} ? saveTensorsSync : saveTensors)(new Map([['x', zeros([300000])]]), '/dev/stdout')
    `
    execFileSync(
      'sh',
      [
        '-c',
        `"$0" -e "$1" | (sleep 1; cat) > "$2"`,
        process.execPath,
        program(way, body),
        path('x'),
      ],
      { cwd: root },
    )
    expect(loadTensorsSync(path('x')).tensors.get('x')?.shape).toEqual([300000])
  })

  it.runIf(ROOT && LINUX)('may be unprivileged', async () => {
    chmodSync(top, 0o755)
    const file = (name: string, bits: number, owner = 65534) => {
      writeFileSync(path(name), 'x'.repeat(5000))
      fs.chownSync(path(name), owner, 65534)
      chmodSync(path(name), bits)
    }
    file('own', 0o600)
    file('write-only', 0o200)
    file('of-others', 0o666, 0)
    file('read-only', 0o644, 0)
    file('own-read-only', 0o400)
    const names = ['own', 'write-only', 'of-others', 'read-only', 'own-read-only', 'new']
    // no file may be created in the folder
    const body = `${NOBODY}
      const all = {}
      for (const name of ${JSON.stringify(names)}) all[name] = await told(save(process.argv[1] + '/' + name, 8))
      console.log(JSON.stringify(all))`
    const all = JSON.parse(await run(way, body, path()))
    const readOnly = expect.stringMatching(
      /^file: .*read-only cannot be saved: EACCES: it is read-only/,
    )
    expect(all).toEqual({
      own: 'saved',
      'write-only': 'saved',
      'of-others': 'saved',
      'read-only': readOnly,
      'own-read-only': readOnly,
      new: expect.stringMatching(/^file: .*new cannot be saved: EACCES: permission denied$/),
    })
    for (const name of ['own', 'write-only', 'of-others']) expectSaved(name, 8)
    expect([mode('own'), mode('write-only'), mode('of-others')]).toEqual([0o600, 0o200, 0o666])
    expect(statSync(path('of-others')).uid).toBe(0)
    expect(readFileSync(path('read-only'), 'utf8')).toBe('x'.repeat(5000))
    expectNothingElse(...names.slice(0, -1))
  })

  it.runIf(ROOT && LINUX)(
    'keeps the owner of a file of another user, in a folder where it could replace it',
    async () => {
      chmodSync(top, 0o755)
      chmodSync(path(), 0o777)
      for (const name of ['plain', 'sticky']) {
        writeFileSync(path(name), 'old')
        chmodSync(path(name), 0o666)
      }
      const body = `${NOBODY} for (const path of process.argv.slice(1)) await save(path, 9)`
      await run(way, body, path('plain'))
      chmodSync(path(), 0o1777)
      await run(way, body, path('sticky'))
      for (const name of ['plain', 'sticky']) {
        expectSaved(name, 9)
        expect(statSync(path(name))).toMatchObject({ uid: 0, gid: 0 })
      }
      expectNothingElse('plain', 'sticky')
    },
  )

  it('leaves a temporary file with a recognisable name when it is killed', async () => {
    writeFileSync(path('x'), 'old')
    const body = `
      require('fs').renameSync = () => process.kill(process.pid, 'SIGKILL')
      require('fs').rename = () => process.kill(process.pid, 'SIGKILL')
      await save(process.argv[1], 1)`
    await expect(run(way, body, path('x'))).rejects.toMatchObject({ signal: 'SIGKILL' })
    expect(readFileSync(path('x'), 'utf8')).toBe('old')
    expectNothingElse('x', expect.stringMatching(/^\.x-transformers-\d+-\d+-\w+\.tmp$/) as never)
  })
})
