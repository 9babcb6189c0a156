/** The lines of state dicts. */
import { XTransformersError } from '../errors.js'
import type { NativeTensor } from '../native/native.js'
import { HANDLE } from '../symbols.js'
import { TensorHandle } from '../tensor/handle.js'
import type { Gates } from '../tensor/schedule.js'
import { Tensor } from '../tensor/tensor.js'

/** Where a parameter or buffer comes from; the same object for every model that shares it. */
export interface EntrySource {
  tensor(): Tensor
}

/** A line of a state dict. */
export interface Entry {
  name: string
  shape: readonly number[]
  kind: 'parameter' | 'buffer'
  /** The entry whose tensor this one shares. */
  tied: string | null
  source: EntrySource
  /** Whether it is a table that is looked up, and no matrix that multiplies. */
  table?: boolean
  /** Whether it is the weight `[out, in]` of a linear layer. */
  linear?: boolean
}

/** A state dict, as {@link Module.stateDict} gives it. */
export type StateDict = ReadonlyMap<string, Tensor>

/** The part of a state dict under a prefix. */
export const below = (state: StateDict, prefix: string): StateDict =>
  new Map(
    [...state]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value]),
  )

/** The names of the modules under a prefix; the module of the prefix itself is the empty name. */
export const modulesBelow = (modules: readonly string[], prefix: string): string[] =>
  modules
    .filter((name) => name === prefix || name.startsWith(`${prefix}.`))
    .map((name) => name.slice(prefix.length + 1))

/** Two parameters under one name could be neither saved nor loaded. */
export function distinct(entries: Entry[]): Entry[] {
  const known = new Map<string, EntrySource>()
  for (const { name, source } of entries) {
    if ((known.get(name) ?? source) !== source) {
      throw new XTransformersError(
        'invalid_state',
        `two parameters of this model have the name ${name}: rename one`,
      )
    }
    known.set(name, source)
  }
  return entries
}

/** A line of a model within. */
export const prefixed = (entry: Entry, name: string): Entry => ({
  ...entry,
  name: `${name}.${entry.name}`,
  tied: entry.tied === null ? null : `${name}.${entry.tied}`,
})

/** A parameter or buffer that this model does not have from another one. */
export class OwnEntry implements EntrySource {
  #tensor: Tensor | null = null

  constructor(
    private readonly read: () => NativeTensor,
    private readonly gates: Gates,
  ) {}

  tensor(): Tensor {
    if (!this.#tensor || this.#tensor[HANDLE].disposed) {
      this.#tensor = new Tensor(new TensorHandle(this.read(), this.gates, true, true))
    }
    return this.#tensor
  }

  dispose(): void {
    this.#tensor?.dispose()
  }
}
