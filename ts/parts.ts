/** What a model of the user's own consists of: the models and parameters that its properties lead to. */

import { identity } from './holders.js'
import type { Module } from './module.js'
import { HANDLE } from './symbols.js'
import { Tensor } from './tensor.js'

// Symbols, so that a user's own members never meet ours.
export const ENTRIES: unique symbol = Symbol('x-transformers.entries')
export const GATES: unique symbol = Symbol('x-transformers.gates')
export const ASSIGN: unique symbol = Symbol('x-transformers.assign')
export const FORGET: unique symbol = Symbol('x-transformers.forget')

/** A model or parameter, and the property that leads to it: `heads.0`, `blocks.first`. */
export type Part = [name: string, part: Module | Tensor]

/** The models being walked: a child may know its parent. */
const open = new Set<object>()

/** Containers in containers, deeper than anybody writes them. */
const DEEPEST = 32

/** By what every model has: the class is not imported here. */
export const isModule = (value: unknown): value is Module =>
  typeof value === 'object' && value !== null && typeof (value as Partial<Module>)[ENTRIES] === 'function'

/** Runs `fn` with the parts of `module`, in the order of its properties; a child that knows its parent leads nowhere. */
export function withParts<T>(module: object, fn: (parts: Part[]) => T): T {
  // a walk inside of one of the same model would close it too early
  const self = identity(module)
  const first = !open.has(self)
  open.add(self)
  try {
    const parts: Part[] = []
    for (const [name, value] of Object.entries(module)) collect(name, value, [], parts)
    return fn(parts)
  } finally {
    if (first) open.delete(self)
  }
}

/** Adds what `value` is or holds: through arrays, Maps, Sets and plain objects, which `above` are open. */
function collect(name: string, value: unknown, above: readonly object[], parts: Part[]): void {
  if (typeof value !== 'object' || value === null) return
  if (isModule(value)) {
    if (!open.has(identity(value))) parts.push([name, value])
  } else if (value instanceof Tensor) {
    if (isParameter(value)) parts.push([name, value])
  } else if (!above.includes(value) && above.length < DEEPEST) {
    for (const [key, item] of itemsOf(value)) {
      // most arrays hold numbers
      if (typeof item === 'object' && item !== null) collect(`${name}.${key}`, item, [...above, value], parts)
    }
  }
}

const tag = (value: object) => Object.prototype.toString.call(value)

/** The items of a container with the last part of their names; nothing of other objects. */
function itemsOf(value: object): Iterable<[key: string | number, item: unknown]> {
  if (Array.isArray(value)) return value.entries()
  if (tag(value) === '[object Map]')
    return Array.from(value as Map<unknown, unknown>, ([key, item], i) => [named(key, i), item])
  if (tag(value) === '[object Set]') return Array.from(value as Set<unknown>, (item, i) => [i, item])
  const prototype = Object.getPrototypeOf(value)
  // a plain object, of whatever realm
  const plain = prototype === null || (Object.getPrototypeOf(prototype) === null && tag(value) === '[object Object]')
  return plain ? Object.entries(value) : []
}

/** A key as part of a name; its place where it is an object. */
const named = (key: unknown, i: number): string | number =>
  typeof key === 'string' || typeof key === 'number' || typeof key === 'boolean' ? String(key) : i

/** Whether it is a leaf: also a frozen one. */
function isParameter(value: Tensor): boolean {
  const handle = value[HANDLE]
  return !handle.disposed && handle.live && handle.use().isLeaf()
}
