/** Calls into Node's file system that are written once, and run at once or in the background. */
import fs, { type Stats, type StatsFs } from 'node:fs'
import timers from 'node:timers'
import { Promises } from '../../promises.js'

/** Of when this is loaded: tests put timers in its place that stand still. */
const { setTimeout } = timers

/** What the calls give. */
interface Results {
  lstat: Stats
  stat: Stats
  fstat: Stats
  statfs: StatsFs
  readlink: string
  readdir: string[]
  access: undefined
  open: number
  write: number
  ftruncate: undefined
  fsync: undefined
  fchmod: undefined
  fchown: undefined
  chmod: undefined
  chown: undefined
  close: undefined
  rename: undefined
  unlink: undefined
  truncate: undefined
  /** Waits so many milliseconds. */
  pause: undefined
}

interface Call {
  name: keyof Results
  args: unknown[]
}

/** A program of such calls. */
export type FsTask<T> = Generator<Call, T, unknown>

/** One call of a program. */
export function* call<K extends keyof Results>(name: K, ...args: unknown[]): FsTask<Results[K]> {
  return (yield { name, args }) as Results[K]
}

type Loose = Record<string, (...args: unknown[]) => unknown>

function now({ name, args }: Call): unknown {
  if (name !== 'pause') return (fs as unknown as Loose)[`${name}Sync`]?.(...args)
  return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, args[0] as number)
}

const later = ({ name, args }: Call): Promise<unknown> =>
  new Promises((resolve, reject) => {
    if (name === 'pause') return void setTimeout(resolve, args[0] as number)
    const done = (error: unknown, value: unknown) => (error ? reject(error) : resolve(value))
    ;(fs as unknown as Loose)[name]?.(...args, done)
  })

/** Runs a program at once. */
export function runSync<T>(steps: FsTask<T>): T {
  let next = steps.next()
  while (!next.done) {
    let value: unknown
    try {
      value = now(next.value)
    } catch (error) {
      next = steps.throw(error)
      continue
    }
    next = steps.next(value)
  }
  return next.value
}

/** Runs a program in the background. */
export async function runAsync<T>(steps: FsTask<T>): Promise<T> {
  let next = steps.next()
  while (!next.done) {
    let value: unknown
    try {
      value = await later(next.value)
    } catch (error) {
      next = steps.throw(error)
      continue
    }
    next = steps.next(value)
  }
  return next.value
}
