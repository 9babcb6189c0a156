/** What the worker does for each message, by the library's public calls. */

import { XTransformersError } from '../../errors.js'
import * as models from '../../models/index.js'
import { load } from '../../models/load.js'
import type { NativeModel } from '../../models/native-model.js'
import { info } from '../../native/runtime.js'
import { memory } from '../../tensor/memory.js'
import { manualSeed, randomState, setRandomState } from '../../tensor/random.js'
import { EMA } from '../../train/ema.js'
import type { EMAOptions } from '../../train/ema-options.js'
import { LoRA } from '../../train/lora.js'
import type { Id, Operation, Params, Request, Result } from '../protocol.js'
import type { Packed } from '../transfer.js'
import type { Call } from './call.js'
import { emaMethods, loraMethods, modelMethod, OPTIMIZER_METHODS } from './methods.js'
import { classOf, make, makeLoRA, makeOptimizer, register, sourceOf } from './objects.js'
import type { Table } from './table.js'
import { describeRun, runEvaluation, runMeasuredStep, runTrainStep } from './train.js'
import { Tensors } from './values.js'

type Handler<K extends Operation> = (params: Params<K>, call: Call) => Promise<Packed<Result<K>>>

const plain = <T>(value: T): Packed<T> => ({ value, transfer: [] })

/** A handler whose work runs in the order of the calls, with tensors that end with it. */
function inOrder<K extends Operation>(
  work: (
    params: Params<K>,
    tensors: Tensors,
    call: Call,
  ) => Promise<Packed<Result<K>>> | Packed<Result<K>>,
): Handler<K> {
  return (params, call) =>
    call.inOrder(async () => {
      const tensors = new Tensors(call.table)
      try {
        return await work(params, tensors, call)
      } finally {
        tensors.dispose()
      }
    })
}

async function callMethod(
  { object, method, args: wire, unawaited }: Params<'call'>,
  tensors: Tensors,
  call: Call,
): Promise<Packed> {
  const { table } = call
  const entry = table.entry(object)
  const args = tensors.unpack<unknown[]>(wire, 'model' in entry ? entry.model : undefined)
  if ('model' in entry) {
    const result = await modelMethod(method)(entry.model, args, call)
    return tensors.pack(tensors.keep(result))
  }
  if ('companion' in entry) {
    const run = classOf<(typeof entry.methods)[string]>(entry.methods, method)
    return tensors.pack(await run(args))
  }
  try {
    const run = classOf<(typeof OPTIMIZER_METHODS)[string]>(OPTIMIZER_METHODS, method)
    return tensors.pack(await run(unawaited ? entry : table.optimizer(object), args, call))
  } catch (error) {
    if (unawaited) entry.failure = error
    throw error
  }
}

const HANDLERS: { [K in Operation]: Handler<K> } = {
  info: inOrder(() => plain(info())),
  memory: inOrder(() => plain(memory())),
  seed: inOrder(({ seed }) => {
    manualSeed(seed)
    return plain(null)
  }),
  random: inOrder(() => plain(randomState())),
  setRandom: inOrder((state) => {
    setRandomState(state)
    return plain(null)
  }),
  construct: inOrder(({ object, class: name, args }, tensors, { table }) => {
    const construct = () =>
      new (classOf<new (...args: unknown[]) => NativeModel>(models, name))(
        ...tensors.unpack<unknown[]>(args),
      )
    table.addModel(object, make(table, object, construct))
    return plain(null)
  }),
  optimizer: inOrder((params, _, { table }) => {
    const { object, class: kind } = params
    table.addOptimizer(
      object,
      make(table, object, () => makeOptimizer(params, table)),
      kind,
    )
    return plain(null)
  }),
  ema: inOrder(({ object, model, options }, _, { table }) => {
    const construct = () => new EMA(table.model(model), options as EMAOptions)
    const ema = make(table, object, construct)
    table.addCompanion(object, { companion: ema, methods: emaMethods(ema), what: 'an EMA' })
    return plain(null)
  }),
  lora: inOrder(async (params, _, { table }) => {
    addLoRA(table, params.object, await makeLoRA(params, table))
    return plain(null)
  }),
  lorasOf: inOrder(({ model, freeze }, _, { table }) => {
    const there = LoRA.of(table.model(model), { freeze })
    return plain(there.map((lora) => addLoRA(table, table.next(), lora)))
  }),
  // in its own time: a download must not hold up the other calls
  async load({ object, source, options }, { id, table, signal, send }) {
    const model = await load<NativeModel>(sourceOf(source), {
      ...(options as object),
      signal,
      on_progress: (progress) => send({ type: 'progress', id, progress }),
    })
    if (!signal.aborted) return plain(register(table, object, model))
    model.dispose()
    throw signal.reason
  },
  call: inOrder(callMethod),
  stream: streamTokens,
  trainStep: inOrder(async (step, tensors, { table, signal }) =>
    plain(await runTrainStep(step, table, tensors, signal)),
  ),
  runStep: inOrder(async (step, tensors, { table, signal }) =>
    plain(await runMeasuredStep(step, table, tensors, signal)),
  ),
  describeRun: inOrder((params, _, { table }) => plain(describeRun(params, table))),
  evaluate: inOrder(async (params, tensors, { table }) =>
    plain(await runEvaluation(params, table, tensors)),
  ),
}

function addLoRA(table: Table, id: Id, lora: LoRA): Id {
  // disposing the page's object frees nothing here: the matrices belong to the model
  const companion = { [Symbol.dispose]() {} }
  table.addCompanion(id, { companion, methods: loraMethods(lora), what: 'a LoRA' })
  return id
}

async function streamTokens({ object, args }: Params<'stream'>, call: Call): Promise<Packed<null>> {
  const tensors = new Tensors(call.table)
  let tokens: AsyncIterator<number | number[]> | null = null
  try {
    tokens = await call.inOrder(() => {
      const model = call.table.model(object)
      return start(model, tensors.unpack<unknown[]>(args, model))
    })
    while (await call.mayGoOn()) {
      const { done, value } = await call.inOrder(() =>
        (tokens as AsyncIterator<number | number[]>).next(),
      )
      if (done) break
      call.send({ type: 'item', id: call.id, value })
    }
    return plain(null)
  } finally {
    await tokens?.return?.()
    tensors.dispose()
  }
}

function start(model: NativeModel, args: readonly unknown[]): AsyncIterator<number | number[]> {
  const { stream } = model as unknown as {
    stream?: (...args: readonly unknown[]) => AsyncIterable<number | number[]>
  }
  if (!stream)
    throw new XTransformersError('invalid_argument', `a ${model.className} has no stream()`)
  return stream.apply(model, [...args])[Symbol.asyncIterator]()
}

/** Runs what a request asks for. */
export function run({ op, params }: Request, call: Call): Promise<Packed<unknown>> {
  return (HANDLERS[op] as Handler<Operation>)(params as never, call)
}
