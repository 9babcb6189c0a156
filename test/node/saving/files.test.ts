// Which file is written for a path, and which of its properties are preserved. Contents are tested
// in ../checkpoint.test.ts.
import fs, {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { describe, expect, it } from 'vitest'
import { full, loadTensorsSync, saveTensors, saveTensorsSync } from 'x-transformers'
import { expectError } from '../../api/bytes.js'
import { smallModel } from '../../api/helpers.js'
import {
  expectNothingElse,
  expectSaved,
  LINUX,
  mode,
  POSIX,
  path,
  ROOT,
  valueIn,
  WAYS,
} from './helpers.js'

describe.each(WAYS)('a file that is saved %s', (_, save) => {
  it('is created with the mode of the umask, or keeps the mode of the file it replaces', async () => {
    const before = process.umask(0o027)
    try {
      await save(path('new'))
      for (const [name, bits] of [
        ['private', 0o600],
        ['odd', 0o641],
        ['open', 0o666],
      ] as const) {
        writeFileSync(path(name), 'old')
        chmodSync(path(name), bits)
        await save(path(name), 2)
        expectSaved(name, 2)
        if (POSIX) expect(mode(name)).toBe(bits)
      }
    } finally {
      process.umask(before)
    }
    if (POSIX) expect(mode('new')).toBe(0o640)
    expectNothingElse('new', 'private', 'odd', 'open')
  })

  it.runIf(POSIX)('is a new file, so that open readers keep the old one', async () => {
    await save(path('x'), 1)
    const descriptor = openSync(path('x'), 'r')
    try {
      const before = readFileSync(path('x'))
      await save(path('x'), 2)
      expect(readFileSync(descriptor)).toEqual(before)
    } finally {
      closeSync(descriptor)
    }
    expectSaved('x', 2)
  })

  it.runIf(ROOT)('keeps its owner and group', async () => {
    writeFileSync(path('x'), 'old')
    fs.chownSync(path('x'), 1234, 2345)
    chmodSync(path('x'), 0o640)
    await save(path('x'))
    expectSaved('x')
    expect(statSync(path('x'))).toMatchObject({ uid: 1234, gid: 2345 })
    expect(mode('x')).toBe(0o640)
  })

  it.runIf(POSIX)('is found through links, which are kept', async () => {
    mkdirSync(path('deep/inner'), { recursive: true })
    writeFileSync(path('deep/target'), 'old')
    // `..` is the parent of the link's target, not of the link
    symlinkSync(path('deep/inner'), path('folder'))
    symlinkSync('../target', path('deep/inner/second'))
    symlinkSync('folder/second', path('first'))
    await save(path('first'))
    expectSaved('deep/target')
    expect(readlinkSync(path('first'))).toBe('folder/second')
    expect(readlinkSync(path('deep/inner/second'))).toBe('../target')
    expectNothingElse('deep', 'folder', 'first')
    expect(readdirSync(path('deep')).sort()).toEqual(['inner', 'target'])
  })

  it.runIf(POSIX)('is created where a dangling link points', async () => {
    mkdirSync(path('there'))
    symlinkSync(path('there/new'), path('link'))
    await save(path('link'))
    expectSaved('there/new')
    expect(lstatSync(path('link')).isSymbolicLink()).toBe(true)
    symlinkSync('nowhere/new', path('lost'))
    await expectError(save(path('lost')), 'file', /lost cannot be saved: ENOENT/)
  })

  it.runIf(POSIX)('is an error for cyclic links', async () => {
    symlinkSync('b', path('a'))
    symlinkSync('a', path('b'))
    await expectError(save(path('a')), 'file', /a cannot be saved: ELOOP.*links/)
    expectNothingElse('a', 'b')
  })

  it.runIf(POSIX)('keeps all of its hard links', async () => {
    writeFileSync(path('one'), 'x'.repeat(10_000))
    linkSync(path('one'), path('two'))
    await save(path('two'), 3)
    expectSaved('one', 3)
    expect(statSync(path('one')).ino).toBe(statSync(path('two')).ino)
    expectNothingElse('one', 'two')
  })

  it('is rejected if it is read-only, also for root', async () => {
    writeFileSync(path('x'), 'old')
    chmodSync(path('x'), 0o444)
    await expectError(save(path('x')), 'file', /x cannot be saved: EACCES: it is read-only/)
    expect(readFileSync(path('x'), 'utf8')).toBe('old')
    expect(mode('x')).toBe(0o444)
    expectNothingElse('x')
    chmodSync(path('x'), 0o644)
  })

  it('is rejected if it is a folder, or its folder does not exist', async () => {
    mkdirSync(path('x/inner'), { recursive: true })
    for (const name of ['x', 'x/'])
      await expectError(save(path(name)), 'file', /cannot be saved: EISDIR: it is a folder/)
    await expectError(
      save(path('no/such')),
      'file',
      /no\/such cannot be saved: ENOENT: no such file or directory$/,
    )
    writeFileSync(path('file'), '')
    await expectError(save(path('file/x')), 'file', /cannot be saved: ENOTDIR/)
    await expectError(save(path('a\0b')), 'file', /null bytes/)
    expectNothingElse('x', 'file')
  })

  it('may have a name of up to 255 bytes', async () => {
    const name = 'é'.repeat(127)
    await save(path(`${name}x`))
    expectSaved(`${name}x`)
    await expectError(save(path(`${name}xy`)), 'file', /cannot be saved: ENAMETOOLONG/)
    expectNothingElse(`${name}x`)
  })

  it.runIf(LINUX)(
    'may have a path so long that no temporary file beside it would fit',
    async () => {
      // no system call accepts more than 4096 bytes: the folders are entered step by step
      const here = process.cwd()
      try {
        process.chdir(path())
        const step = 'd'.repeat(250)
        const room = 4095 - path().length - '/x'.length
        for (let i = 0; i < Math.floor(room / 251); i++) {
          mkdirSync(step)
          process.chdir(step)
        }
        const rest = room % 251
        if (rest > 1) mkdirSync('e'.repeat(rest - 1))
        const whole = `${process.cwd()}/${rest > 1 ? `${'e'.repeat(rest - 1)}/` : ''}x`
        expect(whole.length).toBeGreaterThan(4090)
        await save(whole, 1)
        await save(whole, 2)
        expect(valueIn(whole)).toEqual([2, 2, 2])
      } finally {
        process.chdir(here)
      }
    },
  )

  it('may not have an empty name', async () => {
    await expectError(save(''), 'invalid_argument', /the path to save to is empty/)
  })

  it.runIf(LINUX)(
    'may have a relative path in a folder whose path exceeds the system limit',
    async () => {
      const here = process.cwd()
      try {
        process.chdir(path())
        const room = 4090 - path().length
        const steps = [...Array(Math.floor(room / 251)).fill(250), (room % 251) - 1]
        for (const length of steps.filter((length) => length > 0)) {
          mkdirSync('d'.repeat(length))
          process.chdir('d'.repeat(length))
        }
        await save('a-longer-name', 1)
        await save('a-longer-name', 2)
        expect(valueIn('a-longer-name')).toEqual([2, 2, 2])
        expect(readdirSync('.')).toEqual(['a-longer-name'])
        // no path is short enough for a recursive removal
        rmSync('a-longer-name')
      } finally {
        process.chdir(here)
      }
    },
  )

  it('may have a path relative to the working directory', async () => {
    const here = process.cwd()
    try {
      process.chdir(path())
      const pending = save('relative')
      process.chdir(here)
      await pending
    } finally {
      process.chdir(here)
    }
    expectSaved('relative')
  })
})

describe('saves to one file', () => {
  it('end with the content of the last one, whatever links the file has', async () => {
    writeFileSync(path('x'), 'old')
    if (POSIX) linkSync(path('x'), path('y'))
    const names = POSIX ? ['x', 'y'] : ['x']
    const large = (value: number) => ({ x: full([2_000_000], value) })
    const pending = Array.from({ length: 8 }, (_, i) =>
      saveTensors(large(i), path(names[i % names.length] as string)),
    )
    expect(() => saveTensorsSync(large(9), path('x'))).toThrowError(
      expect.objectContaining({ code: 'busy', message: expect.stringMatching(/await/) }),
    )
    await Promise.all(pending)
    for (const name of names) {
      const { tensors } = loadTensorsSync(path(name))
      expect([tensors.get('x')?.min().item(), tensors.get('x')?.max().item()]).toEqual([7, 7])
    }
    saveTensorsSync(large(9), path('x'))
    expect(loadTensorsSync(path('x')).tensors.get('x')?.mean().item()).toBe(9)
    expectNothingElse(...names)
  })

  it.runIf(POSIX)('end with the content of the last one, however its path is spelled', async () => {
    mkdirSync(path('real'))
    symlinkSync('real', path('linked'))
    symlinkSync('real/target', path('dangling'))
    writeFileSync(path('real/old'), 'old')
    symlinkSync('real/old', path('link'))
    const here = process.cwd()
    process.chdir(path())
    try {
      for (const [first, second] of [
        ['./new', 'new'],
        ['real//double', 'real/double'],
        ['real/through', 'linked/through'],
        ['dangling', 'real/target'],
        ['real/../dots', path('dots')],
        ['link', 'real/old'],
      ] as const) {
        const filled = (count: number, value: number) => ({ x: full([count], value) })
        const refused = () =>
          expect(() => saveTensorsSync(filled(1, 9), second), second).toThrowError(
            expect.objectContaining({ code: 'busy' }),
          )
        const pending = [1, 2].map((value) => saveTensors(filled(2_000_000, value), first))
        refused()
        await pending[0]
        // the path may refer to another file now
        refused()
        await Promise.all([...pending, saveTensors(filled(1, 3), second)])
        expect(loadTensorsSync(first).tensors.get('x')?.toArray(), first).toEqual([3])
      }
    } finally {
      process.chdir(here)
    }
  })

  it('do not wait for one that fails before or during writing', async () => {
    const model = smallModel()
    const disposed = smallModel()
    disposed.dispose()
    mkdirSync(path('folder'))
    const pending = [
      disposed.save(path('x')),
      model.save(path('x')),
      model.save(path('folder')),
      model.save(path('folder')),
    ]
    const ended = await Promise.allSettled(pending)
    expect(ended.map(({ status }) => status)).toEqual([
      'rejected',
      'fulfilled',
      'rejected',
      'rejected',
    ])
    model.saveSync(path('x'))
    expectNothingElse('folder', 'x')
  })
})
