/** How values get into a model: all of them, or, after an error, none. */
import { checkSignal, throwIfAborted } from '../control.js'
import {
  disposeAll,
  readTensors,
  readTensorsSync,
  type SyncTensorSource,
  type TensorFile,
  type TensorReadOptions,
  type TensorSource,
} from '../io/tensor-files.js'
import { whenEnded } from '../promises.js'
import { GATES } from '../symbols.js'
import { NO_GATES, schedule, scheduleSync } from '../tensor/schedule.js'
import type { Tensor } from '../tensor/tensor.js'
import type { StateDict } from './entries.js'
import {
  checkState,
  checkStateOptions,
  fitState,
  type LoadResult,
  type LoadStateOptions,
} from './state.js'
import { ASSIGN, ENTRIES, type Submodule } from './submodule.js'

/** Options of {@link Module.loadWeights}. */
export type LoadWeightsOptions = LoadStateOptions & TensorReadOptions

/** {@link Module.loadStateDict} */
export function loadState(
  module: Submodule,
  state: StateDict | Readonly<Record<string, Tensor>>,
  options: LoadStateOptions,
): LoadResult {
  const fitting = checkStateOptions(options, 'loadStateDict()')
  const { known, result } = fitState(checkState(state), module[ENTRIES](), fitting)
  scheduleSync('loadStateDict()', NO_GATES, module[GATES](), () => module[ASSIGN](known))
  return result
}

/**
 * Reads a file of weights at once, and runs `put` with it in the turn of this call: calls on the
 * module that follow wait for it. An abort counts until then. The tensors end with the call.
 */
export async function readInTurn<T>(
  module: Submodule,
  source: TensorSource,
  options: TensorReadOptions,
  put: (file: TensorFile) => T,
): Promise<T> {
  const signal = checkSignal(options.signal)
  const gates = module[GATES]()
  const reading = readTensors(source, { ...options, widen: true })
  // it may fail before its turn comes, when nobody looks at it yet: in Node that would end the
  // process
  reading.catch(() => {})
  const run = async () => {
    const file = await reading
    throwIfAborted(signal)
    return put(file)
  }
  // the native tensors go with the call, however it ends
  const free = () => void reading.then(({ tensors }) => disposeAll(tensors)).catch(() => {})
  return await whenEnded(schedule(NO_GATES, gates, run, signal), free)
}

/** {@link Module.loadWeights} */
export async function loadWeights(
  module: Submodule,
  source: TensorSource,
  given: LoadWeightsOptions,
): Promise<LoadResult> {
  const options = checkStateOptions(given, 'loadWeights()', ['key', 'signal', 'on_progress'])
  return await readInTurn(module, source, options, ({ tensors }) => {
    const { known, result } = fitState(tensors, module[ENTRIES](), options)
    module[ASSIGN](known)
    return result
  })
}

/** {@link Module.loadWeightsSync}, whose options have no `signal` and no `on_progress` */
export function loadWeightsSync(
  module: Submodule,
  source: SyncTensorSource,
  given: LoadWeightsOptions,
): LoadResult {
  const options = checkStateOptions(given, 'loadWeightsSync()', ['key'])
  const { tensors } = readTensorsSync(source, { ...options, widen: true })
  try {
    const { known, result } = fitState(tensors, module[ENTRIES](), options)
    scheduleSync('loadWeightsSync()', NO_GATES, module[GATES](), () => module[ASSIGN](known))
    return result
  } finally {
    disposeAll(tensors)
  }
}
