/**
 * Names of temporary files, and those that a process has left which ended in the middle of a save.
 */
import fs from 'node:fs'
import { hostname } from 'node:os'
import { sep } from 'node:path'
import { call, type FsTask } from './fs-tasks.js'

/** Number of the process, count, where that number holds, and a random part. */
const NAME = /^\.x-transformers-(\d+)-\d+-([0-9a-z]+)_[0-9a-z]*\.tmp$/

/**
 * A process elsewhere, which nobody can ask for, has ended when its file has been still for so
 * long.
 */
const DAY = 24 * 60 * 60 * 1000

/** Folders are looked at once: some hold very many files. */
const seen = new Set<string>()

let made = 0
let scope: string | null = null

/**
 * The machine, and the container: a folder may be shared, and elsewhere processes have the same
 * numbers.
 */
function scopeOfNumbers(): string {
  let namespace = ''
  try {
    namespace = fs.readlinkSync('/proc/self/ns/pid')
  } catch {
    // not Linux
  }
  let hash = 0
  for (const unit of `${hostname()} ${namespace}`)
    hash = (Math.imul(hash, 31) + unit.charCodeAt(0)) >>> 0
  return hash.toString(36)
}

/** Short, whatever the name of the target is, and not that of another process or thread. */
export function temporaryName(): string {
  scope ??= scopeOfNumbers()
  const random = Math.random().toString(36).slice(2, 8)
  return `.x-transformers-${process.pid}-${made++}-${scope}_${random}.tmp`
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // anything else says that we may not send to it
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Removes a file where its name is that of a temporary one, and nobody writes it any more. */
function* removeIfStale(folder: string, name: string): FsTask<void> {
  const [found, pid, where] = NAME.exec(name) ?? []
  if (!found) return
  const path = `${folder}${sep}${name}`
  const stat = yield* call('lstat', path)
  if (!stat.isFile()) return
  scope ??= scopeOfNumbers()
  const ended = where === scope && !lives(Number(pid))
  if (ended || Date.now() - stat.mtimeMs > DAY) yield* call('unlink', path)
}

/** Removes what saves to a folder have left there, at the first save of this process to it. */
export function* removeStaleFiles(folder: string): FsTask<void> {
  if (seen.has(folder)) return
  seen.add(folder)
  let names: string[]
  try {
    names = yield* call('readdir', folder)
  } catch {
    // what hinders the save too, it will say itself
    return
  }
  for (const name of names) {
    try {
      yield* removeIfStale(folder, name)
    } catch {
      // it may be gone, or somebody else's
    }
  }
}
