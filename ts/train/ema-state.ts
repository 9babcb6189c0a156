/** The state of an EMA: averages by the names of the parameters, and the metadata of its file. */
import { isCount, isRecord, refuse } from '../checks.js'
import { guarded, XTransformersError } from '../errors.js'
import type { EntrySource, StateDict } from '../module/entries.js'
import type { Module } from '../module/module.js'
import { assignParameter } from '../module/parameters.js'
import { checkState, fitState } from '../module/state.js'
import { ENTRIES } from '../module/submodule.js'
import { jsonOf } from '../native/json.js'
import { HANDLE } from '../symbols.js'
import { type Tensor, wrap } from '../tensor/tensor.js'

/** The state of an `EMA`, as `EMA.stateDict` gives it. */
export interface EMAState {
  /** The number of updates so far. */
  updates: number
  /** The averages by the names of the parameters; with them the model's buffers. */
  weights: Map<string, Tensor>
}

/** The key of the metadata of a file under which the state of an EMA is. */
const KEY = 'ema'

/** The averages of the parameters of a model, in the order of the parameters. */
export class Averages {
  readonly #model: Module
  readonly #parameters: readonly Tensor[]
  readonly #averages: readonly Tensor[]

  constructor(model: Module, parameters: readonly Tensor[], averages: readonly Tensor[]) {
    this.#model = model
    this.#parameters = parameters
    this.#averages = averages
  }

  /** The averages by the sources of their parameters: one source has several names if tied. */
  #bySource(): Map<EntrySource, Tensor> {
    const places = new Map(this.#parameters.map((parameter, i) => [parameter[HANDLE], i]))
    return new Map(
      this.#model[ENTRIES]().flatMap(({ kind, source }) => {
        if (kind !== 'parameter') return []
        const place = places.get(source.tensor()[HANDLE])
        return place === undefined ? [] : [[source, this.#averages[place] as Tensor] as const]
      }),
    )
  }

  /** The state dict of the model, with the averages in place of the parameters. */
  named(): Map<string, Tensor> {
    const averages = this.#bySource()
    return new Map(
      this.#model[ENTRIES]().map(({ name, source }) => [
        name,
        averages.get(source) ?? source.tensor(),
      ]),
    )
  }

  /** As {@link named}, with copies of all tensors. */
  copies(): Map<string, Tensor> {
    return new Map([...this.named()].map(([name, tensor]) => [name, copyOf(tensor)]))
  }

  /**
   * Averages by the names of the model, for {@link put}.
   *
   * @throws XTransformersError (`invalid_checkpoint`) where names or shapes do not fit
   */
  fit(state: StateDict): StateDict {
    return fitState(state, this.#model[ENTRIES](), {}).known
  }

  /** Copies values into the averages. */
  put(known: StateDict): void {
    const averages = this.#bySource()
    for (const { name, tied, source } of this.#model[ENTRIES]()) {
      const [average, value] = [averages.get(source), known.get(name)]
      if (average && value && tied === null) assignParameter(average, value)
    }
  }
}

const copyOf = (tensor: Tensor) => wrap(guarded(() => tensor[HANDLE].use().detach()))

/** @throws XTransformersError (`invalid_argument`) */
export function checkEMAState(state: unknown): { updates: number; weights: StateDict } {
  if (!isRecord(state)) throw refuse('the state of an EMA', 'what stateDict() gives', state)
  const { updates, weights } = state as Partial<EMAState>
  if (isCount(updates)) return { updates, weights: checkState(weights) }
  throw refuse('updates', 'a whole number from 0', updates)
}

/** The metadata of a file with averages. */
export const averagesMetadata = ({
  updates,
  decay,
  warmup,
}: {
  updates: number
  decay: number
  warmup: boolean
}): Record<string, string> => ({ [KEY]: jsonOf({ updates, decay, warmup }) })

/**
 * The number of updates in the metadata of a file.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where an EMA has not written it
 */
export function updatesIn(metadata: Record<string, string>): number {
  try {
    const { updates } = JSON.parse(metadata[KEY] ?? '')
    if (isCount(updates)) return updates
  } catch {
    // as for a number that is none
  }
  throw new XTransformersError('invalid_checkpoint', 'this is no file that an EMA has saved')
}
