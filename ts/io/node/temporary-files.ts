/** Temporary files of saves, which take the place of what they are beside. */
import fs, { type Stats } from 'node:fs'
import { dirname, sep } from 'node:path'
import { call, type FsTask } from './fs-tasks.js'
import { codeOf, WINDOWS } from './paths.js'
import { removeStaleFiles, temporaryName } from './stale-files.js'

/**
 * Why no file beside the target can be made, or can take its place, while the target itself may be
 * written: rights, quotas and systems of files that cannot do it, mounts, paths that are too long.
 */
const HINDRANCES = new Set([
  ...['EACCES', 'EPERM', 'EROFS', 'ERR_ACCESS_DENIED', 'EBUSY', 'EXDEV', 'EDQUOT', 'ENOSPC'],
  ...['ENAMETOOLONG', 'ENOENT', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL'],
])

const hinders = (error: unknown) => HINDRANCES.has(codeOf(error))

/**
 * Those that have not taken their place yet: they go with the process, where that can still be
 * told.
 */
const open = new Set<string>()

function atExit(): void {
  for (const path of open) {
    try {
      fs.unlinkSync(path)
    } catch {
      // it has taken its place meanwhile
    }
  }
}

function note(path: string): void {
  if (open.size === 0) process.on('exit', atExit)
  open.add(path)
}

function forget(path: string): void {
  open.delete(path)
  if (open.size === 0) process.off('exit', atExit)
}

/** How often Windows is asked again to replace a file that another program has open. */
const ATTEMPTS = 8

/** A temporary file that is open. */
interface Temporary {
  path: string
  descriptor: number
}

/** Folders from which nothing can be removed (`chattr +a`), as a save has found out. */
const keeping = new Set<string>()

/** A new file beside the target, with the owner and the mode of what it shall replace. */
export function* makeTemporary(target: string, stat: Stats | null): FsTask<Temporary | null> {
  const folder = dirname(target)
  if (keeping.has(folder)) return null
  yield* removeStaleFiles(folder)
  for (;;) {
    const path = `${folder}${sep}${temporaryName()}`
    let descriptor: number | null = null
    note(path)
    try {
      descriptor = yield* call('open', path, 'wx', stat ? 0o600 : 0o666)
      if (stat) yield* keepRights({ path, descriptor }, stat)
      return { path, descriptor }
    } catch (error) {
      if (descriptor === null) forget(path)
      else {
        yield* call('close', descriptor)
        yield* remove(path)
      }
      if (codeOf(error) === 'EEXIST') continue
      // without a folder there is no other way for a new file
      if (hinders(error) && (stat || codeOf(error) !== 'ENOENT')) return null
      throw error
    }
  }
}

/** Gives a new file the owner, the group and the mode of an old one. */
function* keepRights(file: Temporary, old: Stats): FsTask<void> {
  const { uid, gid, mode } = yield* call('fstat', file.descriptor)
  // -1 changes nothing: the group may be given by those who may not give the owner
  const owner = uid === old.uid ? -1 : old.uid
  const group = gid === old.gid ? -1 : old.gid
  if (owner !== -1 || group !== -1) yield* give('chown', file, owner, group)
  const wanted = old.mode & 0o7777
  if ((mode & 0o7777) !== wanted) yield* give('chmod', file, wanted)
}

/**
 * By the path only where Node's permission model refuses descriptors: a path may lead elsewhere
 * meanwhile.
 */
function* give(
  what: 'chown' | 'chmod',
  { path, descriptor }: Temporary,
  ...rights: number[]
): FsTask<void> {
  try {
    yield* call(`f${what}`, descriptor, ...rights)
  } catch (error) {
    if (codeOf(error) !== 'ERR_ACCESS_DENIED') throw error
    yield* call(what, path, ...rights)
  }
}

/** Puts a temporary file in the place of another one. */
export function* moveInto(from: string, to: string): FsTask<boolean> {
  for (let attempt = 0; ; attempt++) {
    try {
      yield* call('rename', from, to)
      forget(from)
      return true
    } catch (error) {
      if (!hinders(error)) throw error
      // another program has the file open, such as a virus scanner: often for a moment only
      if (!WINDOWS || attempt >= ATTEMPTS) return false
      yield* call('pause', 2 ** attempt)
    }
  }
}

/** Removes a temporary file. */
export function* remove(path: string): FsTask<void> {
  try {
    yield* call('unlink', path)
  } catch (error) {
    // it may be gone, or its folder
    if (codeOf(error) === 'EPERM') yield* emptyFile(path)
  }
  forget(path)
}

/** A file that cannot be removed takes no room at least, and is the only one. */
function* emptyFile(path: string): FsTask<void> {
  keeping.add(dirname(path))
  try {
    yield* call('truncate', path, 0)
  } catch {
    // then it stays as it is
  }
}
