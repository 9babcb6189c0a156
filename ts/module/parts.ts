/**
 * What a model of the user's own consists of: the models and parameters that its properties lead
 * to.
 */

import { brandOf } from '../brand.js'
import { tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { HANDLE } from '../symbols.js'
import { Tensor } from '../tensor/tensor.js'
import { identity } from './parents.js'
import { ENTRIES, isModule, type Submodule } from './submodule.js'

/** A model or parameter, and the property that leads to it: `heads.0`, `blocks.first`. */
export type Part = [name: string, part: Submodule | Tensor]

/** The models being walked: a child may know its parent. */
const open = new Set<object>()

/**
 * What led nowhere since the outermost of these walks began: a tokenizer, say, that all layers
 * have.
 */
let withoutParts = new WeakSet<object>()

/** Objects in objects, deeper than anybody writes them, and not too deep for the stack. */
const MAX_DEPTH = 256

/**
 * Runs `fn` with the parts of `module`, in the order of its properties; a child that knows its
 * parent leads nowhere.
 */
export function withParts<T>(module: object, fn: (parts: Part[]) => T): T {
  const self = identity(module)
  // a walk inside of one of the same model would close it too early
  const first = !open.has(self)
  if (open.size === 0) withoutParts = new WeakSet()
  open.add(self)
  try {
    return fn(new Search(module.constructor?.name).properties(module))
  } finally {
    if (first) open.delete(self)
  }
}

/** A walk through the properties of one model. */
class Search {
  /** The parts of each object that was walked, by the names from there on. */
  readonly #known = new Map<object, Part[]>()
  /** The objects that lead to where it is. */
  readonly #ancestors: object[] = []
  /** The objects below the property at hand. */
  #visited: object[] = []
  /** The parts that are too deep, and where; and the objects around them. */
  readonly #deep = new Map<object, string>()
  readonly #searched = new Set<object>()
  /** Whether that property leads to a model or tensor, whichever. */
  #foundPart = false

  constructor(readonly model: string) {}

  properties(module: object): Part[] {
    const parts: Part[] = []
    eachProperty(module, true, (name, value) => {
      this.#foundPart = false
      this.#visited = []
      this.#add(parts, name, value)
      if (!this.#foundPart) for (const object of this.#visited) withoutParts.add(object)
    })
    this.#requireNamed(parts)
    return parts
  }

  /** Adds what `value` is, or holds. */
  #add(parts: Part[], name: string, value: object): void {
    // a Proxy that was revoked
    if (tagOf(value) === '') return
    if (isModule(value)) {
      this.#foundPart = true
      if (!open.has(identity(value))) parts.push([name, value])
    } else if (value instanceof Tensor) {
      this.#foundPart = true
      if (isParameter(value)) parts.push([name, value])
    } else if (!withoutParts.has(value)) {
      for (const [rest, part] of this.#below(value, name)) parts.push([`${name}.${rest}`, part])
    }
  }

  #below(value: object, name: string): readonly Part[] {
    const known = this.#known.get(value)
    if (known) {
      this.#foundPart = true
      return known
    }
    const parts: Part[] = []
    if (this.#ancestors.length >= MAX_DEPTH) {
      this.#foundPart = true
      this.#lookDeeper(value, name)
      return parts
    }
    // one that is open has this list too, while it is empty
    this.#known.set(value, parts)
    this.#visited.push(value)
    this.#ancestors.push(value)
    const found: Part[] = []
    eachItem(value, (key, item) => this.#add(found, key, item))
    this.#ancestors.pop()
    for (const part of found) parts.push(part)
    return parts
  }

  /** Notes the parts that are too deep, without recursion. */
  #lookDeeper(value: object, name: string): void {
    const open = [value]
    for (let object = open.pop(); object !== undefined; object = open.pop()) {
      if (this.#searched.has(object)) continue
      this.#searched.add(object)
      eachItem(object, (_, item) => {
        if (isModule(item) || (item instanceof Tensor && isParameter(item)))
          this.#deep.set(item, name)
        else open.push(item)
      })
    }
  }

  /**
   * @throws XTransformersError (`invalid_state`) where a part is so deep that nobody could name it,
   * and nowhere else
   */
  #requireNamed(parts: readonly Part[]): void {
    if (this.#deep.size === 0) return
    const named = new Set<object>(parts.map(([, part]) => part))
    for (const [part, name] of this.#deep) {
      if (named.has(part) || open.has(identity(part))) continue
      throw new XTransformersError(
        'invalid_state',
        `a part of ${this.model} is more than ${MAX_DEPTH} objects deep, below ${name}: keep parts in an array`,
      )
    }
  }
}

type Visit = (name: string, value: object) => void

/**
 * Calls back for what is an object among the items of a container, or the properties of an object
 * of the user's own.
 */
function eachItem(value: object, visit: Visit): void {
  // most arrays and Maps hold numbers and strings
  const item = (key: unknown, i: number, item: unknown) => {
    if (typeof item === 'object' && item !== null) visit(named(key, i), item)
  }
  const kind = tagOf(value)
  let i = 0
  if (Array.isArray(value)) {
    for (const one of value) item(i, i++, one)
    // an index is a property too
    if (!isOfCaller(value)) return
  } else if (kind === 'Map') {
    for (const [key, one] of value as Map<unknown, unknown>) item(key, i++, one)
  } else if (kind === 'Set') {
    for (const one of value as Set<unknown>) item(i, i++, one)
  } else if (isPlain(value)) {
    eachProperty(value, true, visit)
    return
  } else if ((kind !== 'Object' && !isOfCaller(value)) || brandOf(value) !== null) {
    return
  }
  eachProperty(value, false, visit)
}

/** A plain object, of whatever realm. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return (
    prototype === null || (Object.getPrototypeOf(prototype) === null && tagOf(value) === 'Object')
  )
}

const NATIVE = /\{\s*\[native code\]\s*\}\s*$/

/**
 * Whether its class is not built in; nor one that it extends, but for containers, whose items are
 * looked at anyway.
 */
function isOfCaller(value: object): boolean {
  let own = Object.getPrototypeOf(value)
  for (let at = own; at !== null; at = Object.getPrototypeOf(at)) {
    const made = Object.getOwnPropertyDescriptor(at, 'constructor')?.value
    if (typeof made !== 'function' || !NATIVE.test(Function.prototype.toString.call(made))) continue
    if (at === own) return false
    own = null
    if (!['Object', 'Array', 'Map', 'Set'].includes(made.name)) return false
  }
  return true
}

/**
 * Calls back for the properties that are objects, also those with a symbol, those that are not
 * listed, and what a prototype has. Getters run
 * where `getters` says so, if they are listed and the object's own: a class may compute or change
 * something in them.
 */
function eachProperty(object: object, getters: boolean, visit: Visit): void {
  for (let at = object; isWalked(at, object); at = Object.getPrototypeOf(at)) {
    for (const key of Reflect.ownKeys(at)) {
      const property = Reflect.getOwnPropertyDescriptor(at, key)
      let value: unknown = property?.value
      if (
        property?.get &&
        getters &&
        at === object &&
        property.enumerable &&
        typeof key === 'string'
      )
        value = (object as Record<string, unknown>)[key]
      if (typeof value !== 'object' || value === null || (Array.isArray(object) && isIndex(key)))
        continue
      if (at === object || holderOf(object, key) === at) visit(String(key), value)
    }
  }
}

/** The object itself, and prototypes that are neither ours nor `Object`'s. */
const isWalked = (at: object | null, object: object): at is object =>
  at !== null &&
  (at === object || (Object.getPrototypeOf(at) !== null && !Object.hasOwn(at, ENTRIES)))

const isIndex = (key: PropertyKey) => typeof key === 'string' && /^\d+$/.test(key)

/** Which object a property of `object` is of. */
function holderOf(object: object, key: PropertyKey): object | null {
  let at: object | null = object
  while (at !== null && !Object.hasOwn(at, key)) at = Object.getPrototypeOf(at)
  return at
}

/** A key as part of a name; its place where it is an object. */
const named = (key: unknown, i: number): string =>
  typeof key === 'string' || typeof key === 'number' || typeof key === 'boolean'
    ? String(key)
    : String(i)

/** Whether it is a leaf: also a frozen one. */
function isParameter(value: Tensor): boolean {
  const handle = value[HANDLE]
  return !handle.disposed && handle.live && handle.use().isLeaf()
}
