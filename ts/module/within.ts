/**
 * What is done with all that is within a model of the user's own: with the models, each in its own
 * way, and with the parameters.
 */
import { GATES, HANDLE } from '../symbols.js'
import type { Device } from '../tensor/device.js'
import { type Gates, mergeGates, NO_GATES, scheduleSync } from '../tensor/schedule.js'
import { below, distinct, type Entry, prefixed, type StateDict } from './entries.js'
import { hookForward } from './forwards.js'
import { requireSeen } from './hidden.js'
import { assignParameter, moveParameter, parameterEntry } from './parameters.js'
import { hasLiveParent, type Parent, requireLive } from './parents.js'
import type { Part } from './parts.js'
import { ASSIGN, ENTRIES, isModule, type Quantization, type Submodule } from './submodule.js'
import { walk } from './walk.js'

/** A model, as far as this needs it. */
type Model = Parent & Submodule & { forward(...args: unknown[]): unknown }

/** Runs `fn` with the models that are directly within. */
function forChildren(module: Parent, fn: (child: Submodule) => void): void {
  walk(module, (parts) => {
    for (const [, part] of parts) if (isModule(part)) fn(part)
  })
}

/** The models and parameters that are directly within. */
export const childrenOf = (module: Parent): readonly object[] =>
  walk(module, (parts) => parts.map(([, part]) => part))

export const trainAll = (module: Parent, on: boolean): void =>
  forChildren(module, (child) => child.train(on))

/** Moves weights, buffers and gradients. */
export function moveAll(module: Model, device: Device): void {
  const move = (parts: Part[]) => {
    for (const [, part] of parts) {
      if (isModule(part)) part.to(device)
      else moveParameter(part, device)
    }
  }
  scheduleSync('to()', NO_GATES, module[GATES](), () => walk(module, move))
}

export function quantizeAll(module: Model, format: Quantization): void {
  const quantize = () => forChildren(module, (child) => child.quantize(format))
  scheduleSync('quantize()', NO_GATES, module[GATES](), quantize)
}

/** The first format that there is; null where all weights are f32. */
export function quantizationOf(module: Parent): Quantization | null {
  return walk(module, (parts) => {
    for (const [, part] of parts) if (isModule(part) && part.quantization) return part.quantization
    return null
  })
}

/** Frees what no live model has within. */
export function releaseAll(module: Parent): void {
  walk(module, (parts) => {
    for (const [, part] of parts) {
      if (hasLiveParent(part)) continue
      if (isModule(part)) part.dispose()
      else part[HANDLE].release()
    }
  })
}

/** The lines of the state dict. */
export function entriesOf(module: Model): Entry[] {
  requireLive(module)
  hookForward(module)
  const lines = ([name, part]: Part) =>
    isModule(part)
      ? part[ENTRIES]().map((entry) => prefixed(entry, name))
      : [parameterEntry(name, part)]
  const entries = walk(module, (parts) => distinct(parts.flatMap(lines)))
  requireSeen(module)
  return entries
}

/** The gates of all weights. */
export function gatesOf(module: Parent): Gates {
  const gates = ([, part]: Part) => (isModule(part) ? part[GATES]() : part[HANDLE].gates)
  return walk(module, (parts) => mergeGates(parts.map(gates)))
}

/** Copies values in; names and shapes have been checked. */
export function assignAll(module: Parent, state: StateDict): void {
  walk(module, (parts) => {
    for (const [name, part] of parts) {
      const value = state.get(name)
      if (isModule(part)) part[ASSIGN](below(state, `${name}.`))
      else if (value) assignParameter(part, value)
    }
  })
}
