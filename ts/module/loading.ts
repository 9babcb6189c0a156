/** How values get into a model: all of them, or, after an error, none. */
import { checkSignal, throwIfAborted } from '../control.js'
import {
  disposeAll,
  readTensors,
  readTensorsSync,
  type SyncTensorSource,
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

/** {@link Module.loadWeights} */
export async function loadWeights(
  module: Submodule,
  source: TensorSource,
  given: LoadWeightsOptions,
): Promise<LoadResult> {
  const options = checkStateOptions(given, 'loadWeights()', ['key', 'signal', 'on_progress'])
  const signal = checkSignal(options.signal)
  const gates = module[GATES]()
  const reading = readTensors(source, { ...options, widen: true })
  // it may fail before its turn comes, when nobody looks at it yet: in Node that would end the
  // process
  reading.catch(() => {})
  const put = async () => {
    const { known, result } = fitState((await reading).tensors, module[ENTRIES](), options)
    throwIfAborted(signal)
    module[ASSIGN](known)
    return result
  }
  // the native tensors go with the call, however it ends
  const free = () => void reading.then(({ tensors }) => disposeAll(tensors)).catch(() => {})
  return await whenEnded(schedule(NO_GATES, gates, put, signal), free)
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
