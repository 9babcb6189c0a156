/** The order of saves: those to the same file run one after the other, as they were called. */
import fs from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Promises } from '../../promises.js'
import { runSync } from './fs-tasks.js'
import { resolveLinks } from './paths.js'

/** The latest save that has not ended, by what it writes to. */
const pending = new Map<string, Promise<void>>()

/** The one name that a path without links at its end has, whatever its spelling. */
function nameOf(path: string): string {
  try {
    return fs.realpathSync.native(path)
  } catch {
    // not made yet, or what has no name
    return join(fs.realpathSync.native(dirname(path)), basename(path))
  }
}

/**
 * What a path names: a name, which is there before its file and stays, and the file, where it has
 * other names.
 */
function keysOf(path: string): string[] {
  try {
    const { path: end, stat } = runSync(resolveLinks(path))
    const keys = [nameOf(end)]
    if (!stat || (stat.isFile() && stat.nlink === 1)) return keys
    const { dev, ino } = fs.statSync(end, { bigint: true })
    return [...keys, `${dev}:${ino}`]
  } catch {
    // the save itself will say what is wrong
    return [path]
  }
}
/** Whether a save to the file has not ended. */
export const isPending = (path: string) => keysOf(path).some((key) => pending.has(key))

/** The place of a save in the order. */
export interface QueuedSave {
  /** Until the saves before it have ended. */
  ready: Promise<unknown>
  end(): void
}

/** Takes the next place. */
export function enqueueSave(path: string): QueuedSave {
  const keys = keysOf(path)
  const ready = Promises.all(keys.map((key) => pending.get(key)))
  let resolve = () => {}
  const ended = new Promises<void>((done) => {
    resolve = done
  })
  for (const key of keys) pending.set(key, ended)
  const end = () => {
    for (const key of keys) if (pending.get(key) === ended) pending.delete(key)
    resolve()
  }
  return { ready, end }
}
