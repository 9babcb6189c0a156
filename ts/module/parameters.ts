import { guarded } from '../errors.js'
import { HANDLE } from '../symbols.js'
import type { Device } from '../tensor/device.js'
import type { TensorHandle } from '../tensor/handle.js'
import type { Tensor } from '../tensor/tensor.js'
import type { Entry, EntrySource } from './entries.js'

/** By the handle, which is the same behind a Proxy. */
const sources = new WeakMap<TensorHandle, EntrySource>()

/** The line of a state dict for a parameter of the user's own. */
export function parameterEntry(name: string, tensor: Tensor): Entry {
  let source = sources.get(tensor[HANDLE])
  if (!source) {
    source = { tensor: () => tensor }
    sources.set(tensor[HANDLE], source)
  }
  return { name, shape: tensor.shape, kind: 'parameter', tied: null, source }
}

/** Whether some model of the user's own has it, or had it, as a parameter. */
export const isKnown = (handle: TensorHandle): boolean => sources.has(handle)

/** Copies values into a parameter of the user's own. */
export function assignParameter(parameter: Tensor, values: Tensor): void {
  const source = values[HANDLE].settled('loadStateDict()')
  guarded(() => parameter[HANDLE].use().assign(source))
}

/** Moves a parameter of the user's own, with its gradient, to a device. */
export function moveParameter(parameter: Tensor, device: Device): void {
  guarded(() => parameter[HANDLE].use().moveTo(device))
}
