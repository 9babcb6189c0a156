/** Which file a path names in Node. */
import type { Stats } from 'node:fs'
import { dirname, isAbsolute, resolve, sep } from 'node:path'
import { call, type FsTask } from './fs-tasks.js'

/** A path without symbolic links at its end, and what is there. */
export interface ResolvedPath {
  path: string
  stat: Stats | null
}

export const WINDOWS = process.platform === 'win32'

/** As many links as Linux follows. */
const MAX_LINKS = 40

export const codeOf = (error: unknown) => (error as NodeJS.ErrnoException | null)?.code ?? ''

export const refusal = (code: string, words: string) =>
  Object.assign(new Error(`${code}: ${words}`), { code })

/** Bytes of the longest path that a system takes. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 4095 : 1023

/**
 * A path that means the same after a change of the folder. Its parts stay: `..` may follow a link.
 * Where no call would take it, it stays what it is.
 */
export function absolute(path: string): string {
  if (WINDOWS) return resolve(path)
  if (isAbsolute(path)) return path
  const whole = `${process.cwd()}${sep}${path}`
  return Buffer.byteLength(whole) > MAX_PATH_BYTES ? path : whole
}

/** Follows symbolic links, also one whose target does not exist yet. */
export function* resolveLinks(path: string): FsTask<ResolvedPath> {
  for (let at = path, links = 0; links <= MAX_LINKS; links++) {
    // the links of these names lead to what is open, whatever its path is
    if (openFile(at)) return { path: at, stat: yield* statIfThere('stat', at) }
    const stat = yield* statIfThere('lstat', at)
    if (!stat?.isSymbolicLink()) return { path: at, stat }
    const target = yield* call('readlink', at)
    at = isAbsolute(target) ? target : `${dirname(at)}${sep}${target}`
  }
  throw refusal('ELOOP', 'its symbolic links lead to each other')
}

function* statIfThere(how: 'stat' | 'lstat', path: string): FsTask<Stats | null> {
  try {
    return yield* call(how, path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

/**
 * Whether a path is the name of an open file: `/dev/fd/N`, `/proc/self/fd/N`. Its descriptor is
 * null where it belongs to another process.
 */
export function openFile(path: string): { descriptor: number | null } | null {
  if (WINDOWS) return null
  const found = /^\/(?:dev\/fd|proc\/([^/]+)(?:\/task\/[^/]+)?\/fd)\/(\d+)$/.exec(resolve(path))
  if (!found) return null
  const [, owner = 'self', number] = found
  const own = ['self', 'thread-self', String(process.pid)].includes(owner)
  return { descriptor: own ? Number(number) : null }
}
