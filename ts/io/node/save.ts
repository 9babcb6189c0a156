/**
 * Saving in Node: whether a file may be written, and how.
 *
 * A file is replaced where that is possible: the content goes into a temporary file beside it,
 * which then takes its place. So a reader sees the old content or the new one, and a failure leaves
 * the old one. Everything else is written in place.
 */
import fs, { type Stats } from 'node:fs'
import { dirname } from 'node:path'
import type { XTransformersError } from '../../errors.js'
import { fileError } from '../file-errors.js'
import { call, type FsTask } from './fs-tasks.js'
import { codeOf, openFile, type ResolvedPath, refusal, resolveLinks } from './paths.js'
import { makeTemporary, moveInto, remove } from './temporary-files.js'

/** Small enough for one call on every system. */
const CHUNK = 16 * 1024 * 1024

/**
 * What devices and some systems of files answer where there is nothing to wait for, and Node's
 * permission model where it lets nobody wait.
 */
const NO_SYNC = new Set([
  ...['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EPERM', 'EROFS', 'EBADF'],
  'ERR_ACCESS_DENIED',
])

/** What went wrong, without the name of a temporary file or of a link's target. */
function wordsOf(error: unknown): string {
  const { message, syscall } = error as NodeJS.ErrnoException
  return (syscall && message.split(`, ${syscall}`)[0]) || message
}

/** An error of a save, which names the file that the user has named. */
export const saveError = (path: string, error: unknown): XTransformersError =>
  fileError(`${path} cannot be saved: ${wordsOf(error)}`, error)

/** Writes `bytes` to an absolute path. */
export function* save(path: string, bytes: Uint8Array): FsTask<void> {
  const target = yield* resolveLinks(path)
  const { stat } = target
  if (stat?.isDirectory()) throw refusal('EISDIR', 'it is a folder: give the name of a file in it')
  const open = openFile(target.path)
  if (open && open.descriptor !== null && (open.descriptor < 3 || !stat?.isFile())) {
    return yield* writeAll(open.descriptor, bytes, false)
  }
  if (stat?.isSocket()) {
    throw refusal(
      'ENXIO',
      'it is a socket, which has no name to open: connect to it and give the stream',
    )
  }
  if (stat && !stat.isFile()) return yield* writeDevice(target.path, stat, bytes)
  if (stat) yield* checkWritable(target.path, stat)
  // a new file would take one of the names alone; and whoever has the file open would keep the old
  // one
  const shared = open !== null || (stat?.nlink ?? 0) > 1
  if (shared || !(yield* replace(target, bytes))) yield* writeOver(target, bytes)
}

/** A file without any right to write is refused to root too, whom nothing else would stop. */
function* checkWritable(path: string, stat: Stats): FsTask<void> {
  const readOnly = () =>
    refusal('EACCES', 'it is read-only: change its mode, or save under another name')
  if ((stat.mode & 0o222) === 0) throw readOnly()
  try {
    yield* call('access', path, fs.constants.W_OK)
  } catch (error) {
    throw codeOf(error) === 'EACCES' || codeOf(error) === 'EPERM' ? readOnly() : error
  }
}

/** Replaces a file, or makes it. False where that is impossible; then nothing has changed. */
function* replace({ path, stat }: ResolvedPath, bytes: Uint8Array): FsTask<boolean> {
  const made = yield* makeTemporary(path, stat)
  if (!made) return false
  let moved = false
  try {
    try {
      yield* writeAll(made.descriptor, bytes, true)
    } finally {
      yield* call('close', made.descriptor)
    }
    moved = yield* moveInto(made.path, path)
  } finally {
    if (!moved) yield* remove(made.path)
  }
  if (moved) yield* syncFolder(dirname(path))
  return moved
}

/** Makes the new name of a file last, where the system can do that. */
function* syncFolder(path: string): FsTask<void> {
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
function* writeOver({ path, stat }: ResolvedPath, bytes: Uint8Array): FsTask<void> {
  const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants
  if (stat) yield* checkDiskSpace(path, stat, bytes.length)
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
    const state = stat
      ? 'it was written in place, and may be incomplete now'
      : 'it was removed again'
    throw Object.assign(new Error(`${wordsOf(error)}; ${state}`, { cause: error }), {
      code: codeOf(error),
    })
  }
}

/** Nothing is written over where the disk has no room for the rest. */
function* checkDiskSpace(path: string, { blocks }: Stats, size: number): FsTask<void> {
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

/**
 * Opens a pipe once somebody reads it. A call that waits for that would keep a thread, of which
 * Node has few.
 */
function* openPipe(path: string): FsTask<number> {
  const { O_WRONLY, O_NONBLOCK } = fs.constants
  for (let waited = 1; ; waited = Math.min(2 * waited, 32)) {
    try {
      return yield* call('open', path, O_WRONLY | O_NONBLOCK)
    } catch (error) {
      if (codeOf(error) !== 'ENXIO') throw error
      yield* call('pause', waited)
    }
  }
}

/** Writes to a pipe or a device. */
function* writeDevice(path: string, stat: Stats, bytes: Uint8Array): FsTask<void> {
  const descriptor = stat.isFIFO()
    ? yield* openPipe(path)
    : yield* call('open', path, fs.constants.O_WRONLY)
  try {
    yield* writeAll(descriptor, bytes, false)
  } finally {
    yield* call('close', descriptor)
  }
}

/**
 * `whole`: from the beginning of a file, which then has nothing else. Ends when it is on the disk.
 */
function* writeAll(descriptor: number, bytes: Uint8Array, whole: boolean): FsTask<void> {
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
