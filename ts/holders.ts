/** Which models have which others within: weights are freed with the last live model that has them. */
import { XTransformersError } from './errors.js'
import { HANDLE, SELF } from './symbols.js'

export const ENDED: unique symbol = Symbol('x-transformers.ended')
export const HOLDS: unique symbol = Symbol('x-transformers.holds')

export const LOOK: unique symbol = Symbol('x-transformers.look')

/** A model, as far as this needs it. */
export interface Holder {
  /** How it was disposed, in words; null while it lives. */
  readonly [ENDED]: string | null
  /** Notes what is directly within, and gives it. */
  [LOOK](): readonly object[]
  /** Whether `part` is still within it. */
  [HOLDS](part: object): boolean
}

/** What a model or a tensor is, also behind a Proxy around it. */
export const identity = (part: object): object =>
  (part as { [SELF]?: object })[SELF] ?? (part as { [HANDLE]?: object })[HANDLE] ?? part

/** A holder that nobody has any more holds nothing. */
const holders = new WeakMap<object, Set<WeakRef<Holder>>>()
const references = new WeakMap<Holder, WeakRef<Holder>>()

/** Notes that a model has a part within. */
export function hold(given: Holder, within: object): void {
  const [holder, part] = [identity(given) as Holder, identity(within)]
  let reference = references.get(holder)
  if (!reference) {
    reference = new WeakRef(holder)
    references.set(holder, reference)
  }
  const known = holders.get(part)
  if (known) known.add(reference)
  else holders.set(part, new Set([reference]))
}

const owners = new Set<WeakRef<Holder>>()
const lost = new FinalizationRegistry<WeakRef<Holder>>((reference) => owners.delete(reference))

/**
 * Notes a new model of the user's own: what is within it, its properties tell, and they may change
 * at any time.
 */
export function noteOwner(owner: Holder): void {
  const reference = new WeakRef(owner)
  owners.add(reference)
  lost.register(owner, reference)
}

/**
 * Looks at all models of the user's own that live: before anything is freed, or refused, because
 * nobody has it.
 */
export function lookAround(): void {
  for (const reference of owners) {
    const owner = reference.deref()
    if (!owner || owner[ENDED] !== null) owners.delete(reference)
    else look(owner)
  }
}

/**
 * What is within; a property of the user's own that fails must not fail a call on another model.
 */
function look(holder: Holder): readonly object[] {
  try {
    return holder[LOOK]()
  } catch {
    return []
  }
}

const isHolder = (part: object): part is Holder => LOOK in part

/** What is being disposed: all that is within a model, which may know the model around it. */
let ending: Set<object> | null = null

/**
 * Runs `fn`, which disposes `model` and what is within: that these have each other keeps none of
 * them.
 */
export function whileEnding(model: Holder, fn: () => void): void {
  if (ending !== null) {
    fn()
    return
  }
  lookAround()
  ending = new Set()
  const open: object[] = [model]
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    if (ending.has(identity(part))) continue
    ending.add(identity(part))
    if (isHolder(part)) open.push(...look(part))
  }
  try {
    fn()
  } finally {
    ending = null
  }
}

const lives = (holder: Holder) => holder[ENDED] === null && !ending?.has(holder)

/**
 * Whether a live model has it within, or one that was disposed but is itself within a live one; of
 * those that count.
 */
export function isHeld(
  within: object,
  counts: (holder: Holder) => boolean = () => true,
  seen: Set<object> = new Set(),
): boolean {
  const part = identity(within)
  if (seen.has(part)) return false
  seen.add(part)
  for (const reference of holders.get(part) ?? []) {
    const holder = reference.deref()
    if (!holder) holders.get(part)?.delete(reference)
    else if (counts(holder) && (lives(holder) || isHeld(holder, counts, seen)) && holder[HOLDS](part)) return true
  }
  return false
}

/** @throws XTransformersError (`disposed`) where the model has ended */
export function requireLive(model: Holder): void {
  const ended = model[ENDED]
  if (ended !== null) throw new XTransformersError('disposed', `${ended} and cannot be used any more`)
}
