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
import { noGrad } from '../tensor/grad-mode.js'
import { NO_GATES, schedule, scheduleSync } from '../tensor/schedule.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkDialect } from './dialects/dialect.js'
import { fromXTransformers2 } from './dialects/x-transformers-2.js'
import type { StateDict } from './entries.js'
import {
  checkState,
  checkStateOptions,
  checkTensors,
  fitState,
  type LoadResult,
  type LoadStateOptions,
} from './state.js'
import { ASSIGN, ENTRIES, METADATA, type Submodule } from './submodule.js'

/** Options of {@link Module.loadWeights}. */
export type LoadWeightsOptions = LoadStateOptions & TensorReadOptions

/** {@link Module.loadStateDict} */
export function loadState(
  module: Submodule,
  state: StateDict | Readonly<Record<string, Tensor>>,
  options: LoadStateOptions,
): LoadResult {
  const fitting = checkStateOptions(options, 'loadStateDict()')
  return assign(module, checkState(state), fitting, (known) =>
    scheduleSync('loadStateDict()', NO_GATES, module[GATES](), () => module[ASSIGN](known)),
  )
}

/** Finds for each tensor its place in the module, and has `put` assign them. */
function assign(
  module: Submodule,
  tensors: StateDict,
  options: LoadStateOptions,
  put: (known: StateDict) => void,
): LoadResult {
  const file = checkDialect(options.dialect)
  const entries = module[ENTRIES]()
  if (file === null) {
    const { known, result } = fitState(tensors, entries, options)
    put(known)
    return result
  }
  checkTensors(tensors)
  const { strict, prefix: wanted } = options
  const { state, unexpected, prefix } = noGrad(() =>
    fromXTransformers2(tensors, wanted, entries, module[METADATA](), file),
  )
  try {
    const { known, result } = fitState(state, entries, { strict, prefix: '' }, unexpected)
    put(known)
    return { ...result, prefix: prefix || null }
  } finally {
    const given = new Set(tensors.values())
    for (const tensor of state.values()) if (!given.has(tensor)) tensor.dispose()
  }
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
  return await readInTurn(module, source, options, ({ tensors }) =>
    assign(module, tensors, options, (known) => module[ASSIGN](known)),
  )
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
    return assign(module, tensors, options, (known) =>
      scheduleSync('loadWeightsSync()', NO_GATES, module[GATES](), () => module[ASSIGN](known)),
    )
  } finally {
    disposeAll(tensors)
  }
}
