/** Averages of weights by the names of a model, and what a file says of them. */
import { isRecord, refuse } from '../checks.js'
import { guarded, XTransformersError } from '../errors.js'
import type { Entry, EntrySource, StateDict } from '../module/entries.js'
import type { Module } from '../module/module.js'
import { assignParameter } from '../module/parameters.js'
import { checkState, fitState } from '../module/state.js'
import { ENTRIES } from '../module/submodule.js'
import { jsonOf } from '../native/json.js'
import { HANDLE } from '../symbols.js'
import { type Tensor, wrap } from '../tensor/tensor.js'

/** What an `EMA` knows, as `EMA.stateDict` gives it. */
export interface EMAState {
  /** The number of updates so far. */
  updates: number
  /** The averages by the names of the parameters; with them the model's buffers. */
  weights: Map<string, Tensor>
}

/** The key of its metadata in a file. */
const KEY = 'ema'

/** The averages of the parameters of a model, each in the place of its parameter. */
export class Averages {
  readonly #model: Module
  readonly #parameters: readonly Tensor[]
  readonly #averages: readonly Tensor[]

  constructor(model: Module, parameters: readonly Tensor[], averages: readonly Tensor[]) {
    this.#model = model
    this.#parameters = parameters
    this.#averages = averages
  }

  /** The average of each parameter, by what tells two names of one parameter. */
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

  /** What a state dict of the model has, with the averages in place of the parameters. */
  named(): Map<string, Tensor> {
    const averages = this.#bySource()
    return new Map(
      this.#model[ENTRIES]().map(({ name, source }) => [
        name,
        averages.get(source) ?? source.tensor(),
      ]),
    )
  }

  /** The same with copies. */
  copies(): Map<string, Tensor> {
    return new Map([...this.named()].map(([name, tensor]) => [name, copyOf(tensor)]))
  }

  /** What of a state is to be put in, by `put`. */
  fit(state: StateDict): Fitting {
    const lines = this.#model[ENTRIES]()
    return { lines, known: fitState(state, lines, {}).known }
  }

  put({ known, lines }: Fitting): void {
    const averages = this.#bySource()
    for (const { name, tied, source } of lines) {
      const [average, value] = [averages.get(source), known.get(name)]
      if (average && value && tied === null) assignParameter(average, value)
    }
  }
}

interface Fitting {
  known: StateDict
  lines: readonly Entry[]
}

const copyOf = (tensor: Tensor) => wrap(guarded(() => tensor[HANDLE].use().detach()))

/** @throws XTransformersError (`invalid_argument`) */
export function checkEMAState(state: unknown): { updates: number; weights: StateDict } {
  if (!isRecord(state)) throw refuse('the state of an EMA', 'what stateDict() gives', state)
  const { updates, weights } = state as Partial<EMAState>
  if (isCount(updates)) return { updates, weights: checkState(weights) }
  throw refuse('updates', 'a whole number from 0', updates)
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0

/** What a file says of averages beside them. */
export const averagesMetadata = ({
  updates,
  decay,
  warmup,
}: {
  updates: number
  decay: number
  warmup: boolean
}): Record<string, string> => ({ [KEY]: jsonOf({ updates, decay, warmup }) })

/** The number of updates that the metadata of a file tells. */
export function updatesIn(metadata: Record<string, string>): number {
  try {
    const { updates } = JSON.parse(metadata[KEY] ?? '')
    if (isCount(updates)) return updates
  } catch {
    // as for a number that is none
  }
  throw new XTransformersError('invalid_checkpoint', 'this is no file that an EMA has saved')
}
