/**
 * Saving in Node: which file a path names, whether it may be written, and how.
 *
 * A file is replaced where that is possible: the content goes into a temporary file beside it, which
 * then takes its place. So a reader sees the old content or the new one, and a failure leaves the old
 * one. Everything else is written in place.
 */
import fs, { type Stats } from 'node:fs'
import { dirname, isAbsolute, resolve, sep } from 'node:path'
import type { XTransformersError } from './errors.js'
import { call, type Steps } from './steps.node.js'
import { fileError } from './streams.js'

/** A path without symbolic links at its end, and what is there. */
interface Place {
  path: string
  stat: Stats | null
}

const WINDOWS = process.platform === 'win32'

/** As many links as Linux follows. */
const MOST_LINKS = 40

/** Small enough for one call on every system. */
const CHUNK = 16 * 1024 * 1024

/** How often Windows is asked again to replace a file that another program has open. */
const ATTEMPTS = 8

/**
 * Why no file beside the target can be made, or can take its place, while the target itself may be
 * written: rights, quotas and systems of files that cannot do it, mounts, paths that are too long.
 */
const HINDRANCES = new Set([
  ...['EACCES', 'EPERM', 'EROFS', 'ERR_ACCESS_DENIED', 'EBUSY', 'EXDEV', 'EDQUOT', 'ENOSPC'],
  ...['ENAMETOOLONG', 'ENOENT', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL'],
])

/** What devices and some systems of files answer where there is nothing to wait for. */
const NO_SYNC = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EPERM', 'EROFS', 'EBADF'])

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException | null)?.code ?? ''

const hinders = (error: unknown) => HINDRANCES.has(codeOf(error))

const refusal = (code: string, words: string) => Object.assign(new Error(`${code}: ${words}`), { code })

/** What went wrong, without the name of a temporary file or of a link's target. */
function wordsOf(error: unknown): string {
  const { message, syscall } = error as NodeJS.ErrnoException
  return (syscall && message.split(`, ${syscall}`)[0]) || message
}

/** An error of a save, which names the file that the user has named. */
export const saveError = (path: string, error: unknown): XTransformersError =>
  fileError(`${path} cannot be saved: ${wordsOf(error)}`, error)

/** A path that means the same after a change of the folder. Its parts stay: `..` may follow a link. */
export function absolute(path: string): string {
  if (WINDOWS) return resolve(path)
  return isAbsolute(path) ? path : `${process.cwd()}${sep}${path}`
}

/** Writes `bytes` to an absolute path. */
export function* save(path: string, bytes: Uint8Array): Steps<void> {
  const place = yield* follow(path)
  const { stat } = place
  if (stat?.isDirectory()) throw refusal('EISDIR', 'it is a folder: give the name of a file in it')
  const open = openFile(place.path)
  if (open && open.descriptor !== null && (open.descriptor < 3 || !stat?.isFile())) {
    return yield* writeAll(open.descriptor, bytes, false)
  }
  if (stat?.isSocket()) {
    throw refusal('ENXIO', 'it is a socket, which has no name to open: connect to it and give the stream')
  }
  if (stat && !stat.isFile()) return yield* writeDevice(place.path, bytes)
  if (stat) yield* checkWritable(place.path, stat)
  // a new file would take one of the names alone; and whoever has the file open would keep the old one
  const shared = open !== null || (stat?.nlink ?? 0) > 1
  if (shared || !(yield* replace(place, bytes))) yield* writeOver(place, bytes)
}

/** Follows symbolic links, also one whose target does not exist yet. */
function* follow(path: string): Steps<Place> {
  for (let at = path, links = 0; links <= MOST_LINKS; links++) {
    // the links of these names lead to what is open, whatever its path is
    if (openFile(at)) return { path: at, stat: yield* look('stat', at) }
    const stat = yield* look('lstat', at)
    if (!stat?.isSymbolicLink()) return { path: at, stat }
    const target = yield* call('readlink', at)
    at = isAbsolute(target) ? target : `${dirname(at)}${sep}${target}`
  }
  throw refusal('ELOOP', 'its symbolic links lead to each other')
}

function* look(how: 'stat' | 'lstat', path: string): Steps<Stats | null> {
  try {
    return yield* call(how, path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

/**
 * Whether a path is the name of an open file: `/dev/fd/N`, `/proc/self/fd/N`. Its descriptor is null
 * where it belongs to another process.
 */
function openFile(path: string): { descriptor: number | null } | null {
  if (WINDOWS) return null
  const found = /^\/(?:dev\/fd|proc\/([^/]+)(?:\/task\/[^/]+)?\/fd)\/(\d+)$/.exec(resolve(path))
  if (!found) return null
  const [, owner = 'self', number] = found
  const own = ['self', 'thread-self', String(process.pid)].includes(owner)
  return { descriptor: own ? Number(number) : null }
}

/** A file without any right to write is refused to root too, whom nothing else would stop. */
function* checkWritable(path: string, stat: Stats): Steps<void> {
  const readOnly = () => refusal('EACCES', 'it is read-only: change its mode, or save under another name')
  if ((stat.mode & 0o222) === 0) throw readOnly()
  try {
    yield* call('access', path, fs.constants.W_OK)
  } catch (error) {
    throw codeOf(error) === 'EACCES' || codeOf(error) === 'EPERM' ? readOnly() : error
  }
}

/** Replaces a file, or makes it. False where that is impossible; then nothing has changed. */
function* replace({ path, stat }: Place, bytes: Uint8Array): Steps<boolean> {
  const made = yield* makeTemporary(path, stat)
  if (!made) return false
  let moved = false
  try {
    try {
      yield* writeAll(made.descriptor, bytes, true)
    } finally {
      yield* call('close', made.descriptor)
    }
    moved = yield* move(made.path, path)
  } finally {
    if (!moved) yield* remove(made.path)
  }
  if (moved) yield* syncFolder(dirname(path))
  return moved
}

let made = 0

/** Short, whatever the name of the target is, and not that of another process or thread. */
function temporaryName(): string {
  const random = Math.random().toString(36).slice(2, 8)
  return `.x-transformers-${process.pid}-${made++}-${random}.tmp`
}

/** A new file beside the target, with the owner and the mode of what it shall replace. */
function* makeTemporary(target: string, stat: Stats | null): Steps<{ path: string; descriptor: number } | null> {
  for (;;) {
    const path = `${dirname(target)}${sep}${temporaryName()}`
    let descriptor: number | null = null
    try {
      descriptor = yield* call('open', path, 'wx', stat ? 0o600 : 0o666)
      if (stat) yield* keepRights(descriptor, stat)
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
function* keepRights(descriptor: number, old: Stats): Steps<void> {
  const { uid, gid, mode } = yield* call('fstat', descriptor)
  // -1 changes nothing: the group may be given by those who may not give the owner
  const owner = uid === old.uid ? -1 : old.uid
  const group = gid === old.gid ? -1 : old.gid
  if (owner !== -1 || group !== -1) yield* call('fchown', descriptor, owner, group)
  const wanted = old.mode & 0o7777
  if ((mode & 0o7777) !== wanted) yield* call('fchmod', descriptor, wanted)
}

/** Puts a file in the place of another one. */
function* move(from: string, to: string): Steps<boolean> {
  for (let attempt = 0; ; attempt++) {
    try {
      yield* call('rename', from, to)
      return true
    } catch (error) {
      if (!hinders(error)) throw error
      // another program has the file open, such as a virus scanner: often for a moment only
      if (!WINDOWS || attempt >= ATTEMPTS) return false
      yield* call('pause', 2 ** attempt)
    }
  }
}

function* remove(path: string): Steps<void> {
  try {
    yield* call('unlink', path)
  } catch {
    // it may be gone, or its folder
  }
}

/** Makes the new name of a file last, where the system can do that. */
function* syncFolder(path: string): Steps<void> {
  try {
    const descriptor = yield* call('open', path, 'r')
    try {
      yield* call('fsync', descriptor)
    } finally {
      yield* call('close', descriptor)
    }
  } catch {
    // the content is there already
  }
}

/** Writes over the content of a file, or makes it where it cannot be replaced. */
function* writeOver({ path, stat }: Place, bytes: Uint8Array): Steps<void> {
  const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants
  if (stat) yield* checkRoom(path, stat, bytes.length)
  const flags = stat ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL
  const descriptor = yield* call('open', path, flags, 0o666)
  try {
    try {
      yield* writeAll(descriptor, bytes, true)
    } finally {
      yield* call('close', descriptor)
    }
  } catch (error) {
    if (!stat) yield* remove(path)
    const state = stat ? 'it was written in place, and may be incomplete now' : 'it was removed again'
    throw Object.assign(new Error(`${wordsOf(error)}; ${state}`, { cause: error }), { code: codeOf(error) })
  }
}

/** Nothing is written over where the disk has no room for the rest. */
function* checkRoom(path: string, { blocks }: Stats, size: number): Steps<void> {
  let free = Number.POSITIVE_INFINITY
  try {
    const disk = yield* call('statfs', path)
    if (disk.blocks > 0) free = disk.bfree * disk.bsize
  } catch {
    // not every system tells
  }
  const needed = size - blocks * 512
  if (needed > free) throw refusal('ENOSPC', `it needs ${needed} bytes more, and ${free} are free`)
}

/** Writes to a pipe or a device. */
function* writeDevice(path: string, bytes: Uint8Array): Steps<void> {
  const descriptor = yield* call('open', path, fs.constants.O_WRONLY)
  try {
    yield* writeAll(descriptor, bytes, false)
  } finally {
    yield* call('close', descriptor)
  }
}

/** `whole`: from the beginning of a file, which then has nothing else. Ends when it is on the disk. */
function* writeAll(descriptor: number, bytes: Uint8Array, whole: boolean): Steps<void> {
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(CHUNK, bytes.length - at)
    try {
      const written = yield* call('write', descriptor, bytes, at, length, whole ? at : null)
      if (written === 0) throw refusal('EIO', 'nothing more could be written')
      at += written
    } catch (error) {
      // a pipe that nobody has read from yet
      if (codeOf(error) !== 'EAGAIN') throw error
      yield* call('pause', 2)
    }
  }
  if (whole) yield* call('ftruncate', descriptor, bytes.length)
  try {
    yield* call('fsync', descriptor)
  } catch (error) {
    if (!NO_SYNC.has(codeOf(error))) throw error
  }
}
