/** Temporary files of saves, which take the place of what they are beside. */
import type { Stats } from 'node:fs'
import { dirname, sep } from 'node:path'
import { codeOf } from './places.node.js'
import { call, type Steps } from './steps.node.js'

/**
 * Why no file beside the target can be made, or can take its place, while the target itself may be
 * written: rights, quotas and systems of files that cannot do it, mounts, paths that are too long.
 */
const HINDRANCES = new Set([
  ...['EACCES', 'EPERM', 'EROFS', 'ERR_ACCESS_DENIED', 'EBUSY', 'EXDEV', 'EDQUOT', 'ENOSPC'],
  ...['ENAMETOOLONG', 'ENOENT', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL'],
])

export const hinders = (error: unknown) => HINDRANCES.has(codeOf(error))

let made = 0

/** Short, whatever the name of the target is, and not that of another process or thread. */
function temporaryName(): string {
  const random = Math.random().toString(36).slice(2, 8)
  return `.x-transformers-${process.pid}-${made++}-${random}.tmp`
}

/** A temporary file that is open. */
interface Temporary {
  path: string
  descriptor: number
}

/** A new file beside the target, with the owner and the mode of what it shall replace. */
export function* makeTemporary(target: string, stat: Stats | null): Steps<Temporary | null> {
  for (;;) {
    const path = `${dirname(target)}${sep}${temporaryName()}`
    let descriptor: number | null = null
    try {
      descriptor = yield* call('open', path, 'wx', stat ? 0o600 : 0o666)
      if (stat) yield* keepRights({ path, descriptor }, stat)
      return { path, descriptor }
    } catch (error) {
      if (codeOf(error) === 'EEXIST') continue
      if (descriptor !== null) {
        yield* call('close', descriptor)
        yield* remove(path)
      }
      // without a folder there is no other way for a new file
      if (hinders(error) && (stat || codeOf(error) !== 'ENOENT')) return null
      throw error
    }
  }
}

/** Gives a new file the owner, the group and the mode of an old one. */
function* keepRights(file: Temporary, old: Stats): Steps<void> {
  const { uid, gid, mode } = yield* call('fstat', file.descriptor)
  // -1 changes nothing: the group may be given by those who may not give the owner
  const owner = uid === old.uid ? -1 : old.uid
  const group = gid === old.gid ? -1 : old.gid
  if (owner !== -1 || group !== -1) yield* give('chown', file, owner, group)
  const wanted = old.mode & 0o7777
  if ((mode & 0o7777) !== wanted) yield* give('chmod', file, wanted)
}

/** By the path only where Node's permission model refuses descriptors: a path may lead elsewhere meanwhile. */
function* give(what: 'chown' | 'chmod', { path, descriptor }: Temporary, ...rights: number[]): Steps<void> {
  try {
    yield* call(`f${what}`, descriptor, ...rights)
  } catch (error) {
    if (codeOf(error) !== 'ERR_ACCESS_DENIED') throw error
    yield* call(what, path, ...rights)
  }
}

export function* remove(path: string): Steps<void> {
  try {
    yield* call('unlink', path)
  } catch {
    // it may be gone, or its folder
  }
}
