import { guarded } from '../errors.js'
import { type Entry, type EntrySource, OwnEntry } from '../module/entries.js'
import { structure } from '../module/structure.js'
import { jsonOf } from '../native/json.js'
import type { ModuleDescription, NativeModule } from '../native/native.js'
import type { Gates } from '../tensor/schedule.js'

/**
 * What the native side tells of a model, kept until the model gains or loses parameters, and the
 * lines of its state dict, whose tensors are the same objects for all models that share them.
 */
export class Description {
  readonly #native: NativeModule
  readonly #gates: Gates
  /** Those of the models within, by the prefix of their parameters. */
  readonly #inner: ReadonlyMap<string, Description>
  readonly #own = new Map<string, OwnEntry>()
  #told: ModuleDescription | null = null
  #lines: Entry[] | null = null
  /** The version of the structure that both are of. */
  #version = 0

  constructor(native: NativeModule, gates: Gates, inner: ReadonlyMap<string, Description>) {
    this.#native = native
    this.#gates = gates
    this.#inner = inner
  }

  /** What the native side tells. Draws no values. */
  told(): ModuleDescription {
    if (this.#version !== structure.version) {
      this.#version = structure.version
      this.#told = null
      this.#lines = null
    }
    this.#told ??= JSON.parse(guarded(() => this.#native.describe())) as ModuleDescription
    return this.#told
  }

  /** The lines of the state dict. */
  lines(): Entry[] {
    const told = this.told()
    const table = told.class === 'Embedding'
    this.#lines ??= told.entries.map(({ name, shape, kind, tied, linear }) => {
      const source = this.#source(tied ?? name)
      return { name, shape, kind, tied, source, linear, table }
    })
    return this.#lines
  }

  /** Drops the tensors of entries that are no more; later ones may have their names. */
  forgetGone(): void {
    const names = new Set(this.told().entries.map(({ name }) => name))
    for (const [name, entry] of this.#own) {
      if (names.has(name)) continue
      entry.dispose()
      this.#own.delete(name)
    }
    for (const inner of this.#inner.values()) inner.forgetGone()
  }

  /** Frees the weights that no model within has. */
  free(): void {
    const own = this.told().entries.filter(({ name, tied }) => !this.#shared(tied ?? name))
    for (const entry of this.#own.values()) entry.dispose()
    guarded(() => this.#native.freeWeights(jsonOf(own.map(({ name }) => name))))
  }

  /**
   * Where an entry comes from: the model inside that has it, so that both give the same objects.
   */
  #source(name: string): EntrySource {
    const shared = this.#shared(name)
    if (shared) return shared.source
    let entry = this.#own.get(name)
    if (!entry) {
      entry = new OwnEntry(() => guarded(() => this.#native.entry(name)), this.#gates)
      this.#own.set(name, entry)
    }
    return entry
  }

  /** The line of the model within that has this entry. */
  #shared(name: string): Entry | undefined {
    const dot = name.indexOf('.')
    const rest = name.slice(dot + 1)
    return this.#inner
      .get(name.slice(0, dot))
      ?.lines()
      .find((entry) => entry.name === rest)
  }
}
