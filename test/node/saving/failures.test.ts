// What a save leaves behind if the file system fails, and when it writes in place.
import fs, {
  chmodSync,
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { expectError } from '../../api/bytes.js'
import { expectNothingElse, expectSaved, POSIX, path, WAYS } from './helpers.js'

type Failing = 'unlink' | 'rename' | 'write' | 'ftruncate' | 'fsync' | 'fchmod'

/** Makes a file system call fail, in its sync and async form. */
function failing(name: Failing, code: string, when: (...args: never[]) => boolean = () => true) {
  const error = Object.assign(new Error(`${code}: injected, ${name}`), { code, syscall: name })
  const original = { now: fs[`${name}Sync`], later: fs[name] } as Record<
    string,
    (...args: unknown[]) => unknown
  >
  const now = vi.spyOn(fs, `${name}Sync`).mockImplementation(((...args: never[]) => {
    if (when(...args)) throw error
    return original.now?.(...args)
  }) as never)
  const later = vi.spyOn(fs, name).mockImplementation(((...args: never[]) => {
    if (when(...args)) (args.at(-1) as unknown as (error: Error) => void)(error)
    else original.later?.(...args)
  }) as never)
  return () => {
    now.mockRestore()
    later.mockRestore()
  }
}

describe.each(WAYS)('a failing save, %s', (_, save) => {
  it.each(['ENOSPC', 'EIO', 'EDQUOT'])(
    'keeps the old file unchanged after %s while the new one is written',
    async (code) => {
      for (const call of ['write', 'ftruncate', 'fsync'] as const) {
        writeFileSync(path('x'), 'old')
        const restore = failing(call, code)
        try {
          await expectError(
            save(path('x')),
            'file',
            new RegExp(`x cannot be saved: ${code}: injected$`),
          )
          await expectError(
            save(path('new')),
            'file',
            new RegExp(`new cannot be saved: ${code}: injected$`),
          )
        } finally {
          restore()
        }
        expect(readFileSync(path('x'), 'utf8')).toBe('old')
        expectNothingElse('x')
      }
    },
  )

  it.each(['EBUSY', 'EXDEV', 'EPERM', 'EACCES'])(
    'writes in place if the new file cannot be renamed: %s',
    async (code) => {
      writeFileSync(path('x'), 'x'.repeat(9000))
      const inode = statSync(path('x')).ino
      const restore = failing('rename', code)
      try {
        await save(path('x'), 5)
        await save(path('new'), 6)
      } finally {
        restore()
      }
      expectSaved('x', 5)
      expectSaved('new', 6)
      expect(statSync(path('x')).ino).toBe(inode)
      expectNothingElse('x', 'new')
    },
  )

  it('leaves at most one empty file if the folder does not allow deletion', async () => {
    for (const name of ['x', 'y']) writeFileSync(path(name), 'old')
    const restore = [failing('rename', 'EPERM'), failing('unlink', 'EPERM')]
    try {
      for (const value of [1, 2, 3])
        for (const name of ['x', 'y', 'new']) await save(path(name), value)
    } finally {
      for (const one of restore) one()
    }
    for (const name of ['x', 'y', 'new']) expectSaved(name, 3)
    const others = readdirSync(path()).filter((name) => !['x', 'y', 'new'].includes(name))
    expect(others).toEqual([expect.stringMatching(/^\.x-transformers-.*\.tmp$/)])
    expect(statSync(path(others[0])).size).toBe(0)
  })

  it.runIf(POSIX)('writes in place if the mode cannot be set', async () => {
    writeFileSync(path('x'), 'x'.repeat(9000))
    chmodSync(path('x'), 0o644)
    const inode = statSync(path('x')).ino
    const restore = failing('fchmod', 'EPERM')
    try {
      await save(path('x'), 5)
    } finally {
      restore()
    }
    expectSaved('x', 5)
    expect(statSync(path('x')).ino).toBe(inode)
    expectNothingElse('x')
  })

  it.runIf(POSIX)(
    'reports that a file may be incomplete if it could only be written in place',
    async () => {
      writeFileSync(path('x'), 'old')
      linkSync(path('x'), path('y'))
      const restore = failing('ftruncate', 'EIO')
      try {
        await expectError(
          save(path('x')),
          'file',
          /x cannot be saved: EIO: injected; it was written in place, and may be/,
        )
      } finally {
        restore()
      }
      const restoreBoth = [
        failing('rename', 'EXDEV'),
        failing('ftruncate', 'EIO', () => existsSync(path('new'))),
      ]
      try {
        await expectError(
          save(path('new')),
          'file',
          /new cannot be saved: EIO: injected; it was removed again$/,
        )
      } finally {
        for (const restore of restoreBoth) restore()
      }
      expectNothingElse('x', 'y')
    },
  )

  it('ignores a file system without fsync', async () => {
    const restore = failing('fsync', 'EINVAL')
    try {
      await save(path('x'), 5)
    } finally {
      restore()
    }
    expectSaved('x', 5)
  })
})
