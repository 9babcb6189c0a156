/**
 * Which models have which others within: weights are freed with the last live model that has them.
 */
import { XTransformersError } from '../errors.js'
import { HANDLE, SELF } from '../symbols.js'

export const DISPOSAL: unique symbol = Symbol('x-transformers.disposal')
export const HAS_CHILD: unique symbol = Symbol('x-transformers.has-child')

export const CHILDREN: unique symbol = Symbol('x-transformers.children')

/** A model, as far as this needs it. */
export interface Parent {
  /** How it was disposed, in words; null while it lives. */
  readonly [DISPOSAL]: string | null
  /** Notes what is directly within, and gives it. */
  [CHILDREN](): readonly object[]
  /** Whether `part` is still within it. */
  [HAS_CHILD](part: object): boolean
}

/** What a model or a tensor is, also behind a Proxy around it. */
export const identity = (part: object): object =>
  (part as { [SELF]?: object })[SELF] ?? (part as { [HANDLE]?: object })[HANDLE] ?? part

/** A parent that nobody has any more holds nothing. */
const parents = new WeakMap<object, Set<WeakRef<Parent>>>()
const references = new WeakMap<Parent, WeakRef<Parent>>()

/** Notes that a model has a part within. */
export function addChild(given: Parent, within: object): void {
  const [parent, part] = [identity(given) as Parent, identity(within)]
  let reference = references.get(parent)
  if (!reference) {
    reference = new WeakRef(parent)
    references.set(parent, reference)
  }
  const known = parents.get(part)
  if (known) known.add(reference)
  else parents.set(part, new Set([reference]))
}

const userModels = new Set<WeakRef<Parent>>()
const lost = new FinalizationRegistry<WeakRef<Parent>>((reference) => userModels.delete(reference))

/**
 * Notes a new model of the user's own: what is within it, its properties tell, and they may change
 * at any time.
 */
export function registerUserModel(owner: Parent): void {
  const reference = new WeakRef(owner)
  userModels.add(reference)
  lost.register(owner, reference)
}

/**
 * Looks at all models of the user's own that live: before anything is freed, or refused, because
 * nobody has it.
 */
export function refreshParents(): void {
  for (const reference of userModels) {
    const model = reference.deref()
    if (!model || model[DISPOSAL] !== null) userModels.delete(reference)
    else childrenOf(model)
  }
}

/**
 * What is within; a property of the user's own that fails must not fail a call on another model.
 */
function childrenOf(parent: Parent): readonly object[] {
  try {
    return parent[CHILDREN]()
  } catch {
    return []
  }
}

const isParent = (part: object): part is Parent => CHILDREN in part

/** What is being disposed: all that is within a model, which may know the model around it. */
let disposing: Set<object> | null = null

/**
 * Runs `fn`, which disposes `model` and what is within: that these have each other keeps none of
 * them.
 */
export function whileDisposing(model: Parent, fn: () => void): void {
  if (disposing !== null) {
    fn()
    return
  }
  refreshParents()
  disposing = new Set()
  const open: object[] = [model]
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    if (disposing.has(identity(part))) continue
    disposing.add(identity(part))
    if (isParent(part)) open.push(...childrenOf(part))
  }
  try {
    fn()
  } finally {
    disposing = null
  }
}

const isLive = (parent: Parent) => parent[DISPOSAL] === null && !disposing?.has(parent)

/**
 * Whether a live model has it within, or one that was disposed but is itself within a live one; of
 * those that count.
 */
export function hasLiveParent(
  within: object,
  counts: (parent: Parent) => boolean = () => true,
  seen: Set<object> = new Set(),
): boolean {
  const part = identity(within)
  if (seen.has(part)) return false
  seen.add(part)
  for (const reference of parents.get(part) ?? []) {
    const parent = reference.deref()
    if (!parent) parents.get(part)?.delete(reference)
    else if (
      counts(parent) &&
      (isLive(parent) || hasLiveParent(parent, counts, seen)) &&
      parent[HAS_CHILD](part)
    )
      return true
  }
  return false
}

/** @throws XTransformersError (`disposed`) where the model has ended */
export function requireLive(model: Parent): void {
  const ended = model[DISPOSAL]
  if (ended !== null)
    throw new XTransformersError('disposed', `${ended} and cannot be used any more`)
}
