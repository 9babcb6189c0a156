/** Which models have which others within: weights are freed with the last live model that has them. */
import { XTransformersError } from './errors.js'

export const ENDED: unique symbol = Symbol('x-transformers.ended')
export const HOLDS: unique symbol = Symbol('x-transformers.holds')

/** A model, as far as this needs it. */
export interface Holder {
  /** How it was disposed, in words; null while it lives. */
  readonly [ENDED]: string | null
  /** Whether `part` is still within it. */
  [HOLDS](part: object): boolean
}

/** A holder that nobody has any more holds nothing. */
const holders = new WeakMap<object, Set<WeakRef<Holder>>>()
const references = new WeakMap<Holder, WeakRef<Holder>>()

/** Notes that `holder` has `part` within. */
export function hold(holder: Holder, part: object): void {
  let reference = references.get(holder)
  if (!reference) {
    reference = new WeakRef(holder)
    references.set(holder, reference)
  }
  const known = holders.get(part)
  if (known) known.add(reference)
  else holders.set(part, new Set([reference]))
}

/** Whether a live model has `part` within, or one that was disposed but is itself within a live one; of those that count. */
export function isHeld(part: object, counts: (holder: Holder) => boolean = () => true): boolean {
  for (const reference of holders.get(part) ?? []) {
    const holder = reference.deref()
    if (!holder) holders.get(part)?.delete(reference)
    else if (counts(holder) && (holder[ENDED] === null || isHeld(holder, counts)) && holder[HOLDS](part)) return true
  }
  return false
}

/** @throws XTransformersError (`disposed`) where the model has ended */
export function requireLive(model: Holder): void {
  const ended = model[ENDED]
  if (ended !== null) throw new XTransformersError('disposed', `${ended} and cannot be used any more`)
}
