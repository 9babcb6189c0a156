import { XTransformersError } from '../../errors.js'
import type { NativeModel } from '../../models/native-model.js'
import { FORGET } from '../../module/submodule.js'
import type { Optimizer } from '../../train/optimizer.js'
import type { Id } from '../protocol.js'

/** An optimizer with settings of any kind. */
export type AnyOptimizer = Optimizer<{ lr?: number }>

interface ModelEntry {
  model: NativeModel
  /** The models within, where it was loaded: they end with it. */
  inner: Id[]
}

interface OptimizerEntry {
  optimizer: AnyOptimizer
  kind: string
  /** Of a change that nobody waited for. */
  failure: unknown
}

/** What belongs to a model, such as averages of its weights. */
interface CompanionEntry {
  companion: Disposable
  /** Its methods, each with the arguments of the page. */
  methods: Record<string, (args: readonly unknown[]) => unknown>
  /** As errors call it. */
  what: string
}

type Entry = ModelEntry | OptimizerEntry | CompanionEntry | { error: unknown }

/** The models and optimizers of the page, by their numbers. */
export class Table {
  readonly #entries = new Map<Id, Entry>()
  #last = 0

  /** A number of the worker's own. */
  next(): Id {
    return --this.#last
  }

  addModel(id: Id, model: NativeModel, inner: Id[] = []): void {
    this.#entries.set(id, { model, inner })
  }

  addOptimizer(id: Id, optimizer: AnyOptimizer, kind: string): void {
    this.#entries.set(id, { optimizer, kind, failure: null })
  }

  addCompanion(id: Id, entry: CompanionEntry): void {
    this.#entries.set(id, entry)
  }

  /** Every later call on it fails in the same way. */
  addFailure(id: Id, error: unknown): void {
    this.#entries.set(id, { error })
  }

  model(id: Id): NativeModel {
    const entry = this.entry(id)
    if ('model' in entry) return entry.model
    const what = 'companion' in entry ? entry.what : 'an optimizer'
    throw new XTransformersError('invalid_argument', `${what} was given where a model is needed`)
  }

  optimizer(id: Id): OptimizerEntry {
    const entry = this.entry(id)
    if (!('optimizer' in entry)) {
      const what = 'companion' in entry ? entry.what : 'a model'
      throw new XTransformersError(
        'invalid_argument',
        `${what} was given where an optimizer is needed`,
      )
    }
    const { failure } = entry
    entry.failure = null
    if (failure !== null) throw failure
    return entry
  }

  /** @throws what its construction threw; XTransformersError (`disposed`) after `dispose()` */
  entry(id: Id): ModelEntry | OptimizerEntry | CompanionEntry {
    const entry = this.#entries.get(id)
    if (!entry)
      throw new XTransformersError('disposed', 'this was disposed and cannot be used any more')
    if ('error' in entry) throw entry.error
    return entry
  }

  /**
   * Frees all of them, also where one of them fails.
   *
   * @param lost without the models within, which may be in use
   */
  dispose(ids: readonly Id[], lost = false): void {
    const failures = ids.flatMap((id) => {
      try {
        this.#dispose(id, lost)
        return []
      } catch (error) {
        return [error]
      }
    })
    if (failures.length > 0) throw failures[0]
  }

  #dispose(id: Id, lost: boolean): void {
    const entry = this.#entries.get(id)
    this.#entries.delete(id)
    if (!entry || 'error' in entry) return
    if ('optimizer' in entry) {
      entry.optimizer.dispose()
    } else if ('companion' in entry) {
      entry.companion[Symbol.dispose]()
    } else {
      // of a loaded model the page keeps all while it has a part
      if (lost && entry.inner.length === 0) entry.model[FORGET]()
      else entry.model.dispose()
      for (const inner of entry.inner) this.#entries.delete(inner)
    }
  }

  clear(): void {
    this.dispose([...this.#entries.keys()])
  }
}
