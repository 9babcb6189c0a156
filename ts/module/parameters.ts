import { guarded } from '../errors.js'
import { HANDLE } from '../symbols.js'
import type { Device } from '../tensor/device.js'
import { sizeOf } from '../tensor/dtype.js'
import type { TensorHandle } from '../tensor/handle.js'
import type { Tensor } from '../tensor/tensor.js'
import { distinct, type Entry, type EntrySource } from './entries.js'

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

/** The parameters by name, each once. */
export function parametersOf(entries: Entry[]): Map<string, Tensor> {
  const seen = new Set<EntrySource>()
  const named = new Map<string, Tensor>()
  for (const { name, kind, tied, source } of distinct(entries)) {
    if (kind !== 'parameter' || tied !== null || seen.has(source)) continue
    seen.add(source)
    named.set(name, source.tensor())
  }
  return named
}

/** The parameters that are tables which are looked up. */
export const tablesOf = (entries: readonly Entry[]): ReadonlySet<Tensor> =>
  new Set(entries.flatMap(({ table, source }) => (table ? source.tensor() : [])))

/** Number of single weights, each counted once. Draws no values. */
export function countWeights(entries: readonly Entry[]): number {
  const sizes = new Map<EntrySource, number>()
  for (const { shape, kind, tied, source } of entries) {
    if (kind === 'parameter' && tied === null) sizes.set(source, sizeOf(shape))
  }
  return [...sizes.values()].reduce((a, b) => a + b, 0)
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
