import { guarded } from './errors.js'
import type { Entry, EntrySource } from './module.js'
import { HANDLE } from './symbols.js'
import type { Device, Tensor } from './tensor.js'

const sources = new WeakMap<Tensor, EntrySource>()

/** The line of a state dict for a parameter of the user's own. */
export function own(name: string, tensor: Tensor): Entry {
  let source = sources.get(tensor)
  if (!source) {
    source = { tensor: () => tensor }
    sources.set(tensor, source)
  }
  return { name, shape: tensor.shape, kind: 'parameter', tied: null, source }
}

/** Whether some model has it as a parameter. */
export const isOwn = (tensor: Tensor): boolean => sources.has(tensor)

/** Copies values into a parameter of the user's own. */
export function assign(parameter: Tensor, values: Tensor): void {
  const source = values[HANDLE].settled('loadStateDict()')
  guarded(() => parameter[HANDLE].use().assign(source))
}

/** Moves a parameter of the user's own, with its gradient, to a device. */
export function move(parameter: Tensor, device: Device): void {
  guarded(() => parameter[HANDLE].use().moveTo(device))
}
