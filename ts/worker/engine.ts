/** A model of a worker and its optimizer, as a `Trainer` needs them. */
import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Target } from '../io/sources.js'
import type { TrainBatch } from '../train/batches.js'
import {
  type Engine,
  EngineBase,
  type EngineResult,
  type EngineSettings,
  type EngineStep,
  IGNORED,
  measured,
  ratiosOf,
} from '../train/engine.js'
import type { ModelInfo } from '../train/run-info.js'
import { type Counting, countedTokens, countValues, tokensIn } from '../train/token-count.js'
import type { Connection } from './client.js'
import { RemoteEMA } from './ema.js'
import type { WireObjective } from './protocol.js'
import type { RemoteHandle } from './remote.js'
import { RemoteModel } from './remote-model.js'
import type { WorkerSource } from './source.js'
import type { Packed } from './transfer.js'
import { packArguments, REMOTE } from './values.js'

/** Where an optimizer keeps the rates of its groups for a run. */
export const RATES: unique symbol = Symbol('x-transformers.rates')

/** An optimizer of a worker, as far as a run needs it. */
interface EngineOptimizer {
  readonly [REMOTE]: RemoteHandle
  readonly [RATES]: readonly number[]
  lr: number
  setOptions(options: { lr: number }, group: number): Promise<void>
  save(target: Target): Promise<void>
  load(source: WorkerSource): Promise<void>
}

/** The values of a tensor of the library go to the worker anyway. */
const countTensor: Counting['countTensor'] = (ids, shifted, ignored) =>
  countValues(ids.dataSync(), ids.shape.at(-1) ?? 1, shifted, ignored)

/** @throws XTransformersError (`invalid_argument`) where it is no model of this worker */
function checkModel(model: unknown, connection: Connection): RemoteModel {
  if (model instanceof RemoteModel && model[REMOTE].connection === connection) return model
  const message = `Trainer: the model must be one of the worker that the optimizer is in, got ${describeValue(model)}`
  throw new XTransformersError('invalid_argument', message)
}

export class RemoteEngine
  extends EngineBase<RemoteModel, EngineOptimizer, RemoteEMA>
  implements Engine
{
  readonly #connection: Connection
  readonly #ratios: readonly number[]
  /** Of the wrapper, once it was asked for. */
  #ignored: Promise<number> | null = null

  /** @throws XTransformersError (`invalid_argument`) where the model is not one of this worker */
  constructor(given: unknown, optimizer: EngineOptimizer, { objective, ema }: EngineSettings) {
    const { connection } = optimizer[REMOTE]
    const model = checkModel(given, connection)
    super({ model, optimizer, ema: ema && new RemoteEMA(connection, model, ema) }, objective)
    this.#connection = connection
    this.#ratios = ratiosOf(optimizer[RATES])
  }

  /** Whether the model predicts each token from those before it. */
  get #predicts(): boolean {
    return this.parts.model.constructor.name === 'AutoregressiveWrapper'
  }

  async step({ batches, lr, ...settings }: EngineStep): Promise<EngineResult> {
    await this.#setRates(lr)
    const packed = batches.map(({ args }, i) => this.#pack(args, `batches[${i}]`))
    const targets = this.#packTargets(batches)
    const step = {
      model: this.parts.model[REMOTE].id,
      optimizer: this.parts.optimizer[REMOTE].id,
      batches: packed.map(({ value }) => value),
      objective: targets?.value ?? null,
      ...settings,
    }
    const transfer = [...packed, ...(targets ? [targets] : [])].flatMap((part) => part.transfer)
    const result = await this.#connection.request('runStep', step, { transfer })
    await this.ema?.update()
    return result
  }

  describe(): Promise<ModelInfo> {
    const params = {
      model: this.parts.model[REMOTE].id,
      optimizer: this.parts.optimizer[REMOTE].id,
    }
    return this.#connection.request('describeRun', params)
  }

  async #setRates(lr: number): Promise<void> {
    if (this.#ratios.every((ratio) => ratio === 1)) {
      if (this.parts.optimizer.lr !== lr) this.parts.optimizer.lr = lr
      return
    }
    for (const [i, ratio] of this.#ratios.entries())
      await this.parts.optimizer.setOptions({ lr: lr * ratio }, i)
  }

  tokens(batch: TrainBatch): number {
    return tokensIn(batch, this.#predicts)
  }

  async countedTokens(batch: TrainBatch): Promise<number> {
    const own = this.objective?.options.ignore_index ?? (await this.#ignoredIndex())
    return countedTokens(batch, { predicts: this.#predicts, ignored: own, countTensor })
  }

  #ignoredIndex(): Promise<number> {
    this.#ignored ??= this.parts.model.describe().then(({ options }) => {
      const { ignore_index } = options as { ignore_index?: number }
      return this.#predicts ? (ignore_index ?? IGNORED) : IGNORED
    })
    return this.#ignored
  }

  async evaluate(batch: TrainBatch): Promise<number> {
    const { value, transfer } = this.#pack(batch.args, 'a batch')
    const targets = this.#packTargets([batch], measured(this.objective))
    const params = {
      model: this.parts.model[REMOTE].id,
      batch: value,
      objective: targets?.value ?? null,
    }
    const all = [...transfer, ...(targets?.transfer ?? [])]
    return await this.#connection.request('evaluate', params, { transfer: all })
  }

  random() {
    return this.#connection.request('random', null)
  }

  async setRandom(state: { seed: number; calls: number }): Promise<void> {
    await this.#connection.request('setRandom', state)
  }

  #pack(args: readonly unknown[], what: string) {
    return packArguments(args, this.#connection, what)
  }

  #packTargets(
    batches: readonly TrainBatch[],
    objective = this.objective,
  ): Packed<WireObjective> | null {
    if (objective === null) return null
    const { kind, options } = objective
    const all = [batches.map(({ target }) => target), options]
    const { value, transfer } = this.#pack(all, 'the targets')
    return { value: { kind, targets: value[0] as unknown[], options: value[1] }, transfer }
  }
}
