// Saving to special files: pipes, devices, open files, mount points.
import { execFileSync, spawn } from 'node:child_process'
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { saveTensors, saveTensorsSync, tensor } from 'x-transformers'
import { expectError } from '../../api/bytes.js'
import { expectNothingElse, expectSaved, LINUX, POSIX, path, ROOT, top, WAYS } from './helpers.js'

describe.runIf(POSIX).each(WAYS)('a pipe or a device, saved %s', (_, save) => {
  it('gets the bytes: a named pipe', async () => {
    execFileSync('mkfifo', [path('pipe')])
    // another process reads: a synchronous save would block the reader here
    const reader = spawn('sh', ['-c', `cat "$0" > "$1"`, path('pipe'), path('read')])
    const ended = new Promise((resolve) => reader.on('exit', resolve))
    await save(path('pipe'), 4)
    await ended
    expectSaved('read', 4)
    expect(lstatSync(path('pipe')).isFIFO()).toBe(true)
    expectNothingElse('pipe', 'read')
  })

  it('gets the bytes: /dev/null, also through a link', async () => {
    symlinkSync('/dev/null', path('null'))
    await save('/dev/null')
    await save(path('null'))
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true)
    expect(lstatSync(path('null')).isSymbolicLink()).toBe(true)
    expectNothingElse('null')
  })

  it.runIf(LINUX)('reports that there is no space: /dev/full', async () => {
    await expectError(save('/dev/full'), 'file', /\/dev\/full cannot be saved: ENOSPC/)
    expect(lstatSync('/dev/full').isCharacterDevice()).toBe(true)
  })

  it.runIf(LINUX)('writes in place to an open file by its descriptor path', async () => {
    writeFileSync(path('x'), 'x'.repeat(10_000))
    const inode = statSync(path('x')).ino
    for (const [i, name] of ['/dev/fd', '/proc/self/fd', `/proc/${process.pid}/fd`].entries()) {
      const descriptor = openSync(path('x'), 'r+')
      try {
        symlinkSync(`${name}/${descriptor}`, path(`link${i}`))
        await save(path(`link${i}`), i)
      } finally {
        closeSync(descriptor)
      }
      expectSaved('x', i)
      expect(statSync(path('x')).ino).toBe(inode)
      rmSync(path(`link${i}`))
    }
    await expectError(save('/dev/fd/987'), 'file', /987 cannot be saved: EBADF/)
    expectNothingElse('x')
  })

  it('is rejected if it is a socket', async () => {
    const { createServer } = await import('node:net')
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(path('socket'), resolve))
    try {
      await expectError(
        save(path('socket')),
        'file',
        /socket cannot be saved: ENXIO: it is a socket/,
      )
      expect(lstatSync(path('socket')).isSocket()).toBe(true)
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  })
})

it.runIf(POSIX)("pipes without a reader do not block Node's thread pool", async () => {
  const names = Array.from({ length: 6 }, (_, i) => path(`pipe${i}`))
  execFileSync('mkfifo', names)
  const pending = names.map((name) => saveTensors({ x: tensor([1, 2, 3]) }, name))
  await new Promise((resolve) => setTimeout(resolve, 50))
  // all threads of the pool would wait for readers now, also the one of this read
  const found = await Promise.race([
    stat(path()),
    new Promise((resolve) => setTimeout(resolve, 5000, 'nothing')),
  ])
  for (const name of names) spawn('sh', ['-c', `cat "$0" > "$0.read"`, name])
  await Promise.all(pending)
  expect(found).not.toBe('nothing')
})

/** Whether this process may mount. */
function mounts(): boolean {
  if (!ROOT || !LINUX) return false
  const [from, to] = [join(top, 'from'), join(top, 'to')]
  writeFileSync(from, '')
  writeFileSync(to, '')
  try {
    execFileSync('mount', ['--bind', from, to], { stdio: 'ignore' })
    execFileSync('umount', [to], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe.runIf(mounts()).each(WAYS)('a mount point, saved %s', (_, save) => {
  it('is written in place: a single file, also in a read-only folder', async () => {
    writeFileSync(path('source'), 'x'.repeat(9000))
    mkdirSync(path('disk'))
    execFileSync('mount', ['-t', 'tmpfs', 'none', path('disk')])
    try {
      writeFileSync(path('disk/x'), '')
      execFileSync('mount', ['--bind', path('source'), path('disk/x')])
      await save(path('disk/x'), 2)
      expectSaved('source', 2)
      execFileSync('mount', ['-o', 'remount,ro', path('disk')])
      await save(path('disk/x'), 3)
      expectSaved('source', 3)
      expect(readdirSync(path('disk'))).toEqual(['x'])
      await expectError(save(path('disk/new')), 'file', /new cannot be saved: EROFS/)
    } finally {
      execFileSync('umount', ['-R', path('disk')])
    }
  })

  it('is written in place if there is no space for a temporary file and the old file is large enough', async () => {
    mkdirSync(path('disk'))
    // three inodes: the folder, the file, and one that the test uses
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,nr_inodes=3', 'none', path('disk')])
    try {
      writeFileSync(path('disk/x'), 'x'.repeat(8000))
      writeFileSync(path('disk/other'), '')
      await save(path('disk/x'), 4)
      expectSaved('disk/x', 4)
      await expectError(save(path('disk/new')), 'file', /new cannot be saved: ENOSPC/)
      const large = { x: tensor(new Float32Array(100_000)) }
      await expectError(
        saveTensors(large, path('disk/x')),
        'file',
        /ENOSPC: it needs \d+ bytes more, and \d+ are free/,
      )
      expectSaved('disk/x', 4)
      rmSync(path('disk/other'))
      // now a temporary file can be created, but not filled
      await expectError(saveTensors(large, path('disk/x')), 'file', /ENOSPC/)
      expect(() => saveTensorsSync(large, path('disk/x'))).toThrow(/ENOSPC/)
      expectSaved('disk/x', 4)
      expect(readdirSync(path('disk'))).toEqual(['x'])
    } finally {
      execFileSync('umount', [path('disk')])
    }
  })
})
