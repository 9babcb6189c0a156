/**
 * Finds weights that a model of the user's own computes with and that none of its properties leads
 * to: in `#private` fields, closures, WeakMaps.
 *
 * The gates of a result are those of all weights in its graph. Those that a model was seen to have
 * are remembered: a call costs a look at each.
 */
import { XTransformersError } from '../errors.js'
import { GATES } from '../symbols.js'
import { TensorHandle } from '../tensor/handle.js'
import { handlesIn } from '../tensor/handles-in.js'
import type { Gate, Gates } from '../tensor/schedule.js'
import { isKnown } from './parameters.js'
import { DISPOSAL, hasLiveParent, identity, type Parent, refreshParents } from './parents.js'

const trained = new WeakSet<Gate>()
/** By model: the weights that need no further look. */
const settled = new WeakMap<object, WeakSet<Gate>>()

/** Notes that an optimizer has these weights: somebody trains them. */
export function noteTrained(gates: Gates): void {
  for (const gate of gates) trained.add(gate)
}

/**
 * @param args of the call: what they lead to is the caller's
 * @throws XTransformersError (`invalid_state`) where the graph of `result` has weights that would
 * be neither trained nor saved
 */
export function requireReached(module: object, args: readonly unknown[], result: unknown): void {
  let known = settled.get(identity(module))
  for (const handle of handlesIn(result)) {
    // a leaf is the caller's from now on
    if (handle.live || handle.gates.size === 0) continue
    if (!known) {
      known = new WeakSet()
      settled.set(identity(module), known)
    }
    for (const gate of handle.gates)
      if (!known.has(gate)) requireGate(gate, known, module, [args, result])
  }
}

function requireGate(
  gate: Gate,
  known: WeakSet<Gate>,
  module: object,
  callers: readonly unknown[],
): void {
  const fromCaller = handlesIn(callers[0], 4).concat(
    handlesIn(callers[1]).filter(({ live }) => live),
  )
  if (fromCaller.some(({ gates }) => gates.has(gate))) return
  for (const own of gatesOf(module)) known.add(own)
  if (known.has(gate)) return
  const owner = gate.owner?.deref()
  if (!trained.has(gate) && !(owner && isSeen(owner))) refuse(module, owner)
  known.add(gate)
}

const gatesOf = (module: object): Gates => (module as { [GATES](): Gates })[GATES]()

/** Whether somebody else has it, or nobody needs it any more. */
function isSeen(owner: object): boolean {
  if (owner instanceof TensorHandle && (owner.disposed || isKnown(owner))) return true
  if (DISPOSAL in owner && (owner as Parent)[DISPOSAL] !== null) return true
  if (hasLiveParent(owner)) return true
  refreshParents()
  return hasLiveParent(owner)
}

function refuse(module: object, owner: object | undefined): never {
  const words =
    owner && !(owner instanceof TensorHandle) ? `a ${owner.constructor.name}` : parameter(owner)
  throw new XTransformersError(
    'invalid_state',
    `${module.constructor.name} computes with ${words} that none of its properties leads to, so that it would be neither trained nor saved: keep it in a public property (not in a #private field, a closure or a WeakMap), or give it to forward(). What is not to be trained goes inside noGrad, or is frozen by requires_grad = false`,
  )
}

const parameter = (owner: TensorHandle | undefined) =>
  owner ? `a parameter of shape [${owner.shape().join(', ')}]` : 'a parameter'
