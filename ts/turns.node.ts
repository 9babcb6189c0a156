/** The order of saves: those to the same file run one after the other, as they were called. */
import fs from 'node:fs'
import { Promises } from './promises.js'

/** The latest save that has not ended, by what it writes to. */
const pending = new Map<string, Promise<void>>()

/** What a path names: the path, and the file there, which may have several names. */
function keysOf(path: string): string[] {
  try {
    const stat = fs.statSync(path, { bigint: true, throwIfNoEntry: false })
    return stat ? [path, `${stat.dev}:${stat.ino}`] : [path]
  } catch {
    return [path]
  }
}

/** Whether a save to the file has not ended. */
export const isPending = (path: string) => keysOf(path).some((key) => pending.has(key))

/** The place of a save in the order. */
export interface Turn {
  /** Until the saves before it have ended. */
  ready: Promise<unknown>
  end(): void
}

/** Takes the next place. */
export function takeTurn(path: string): Turn {
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
