/** A model of a worker and its optimizer, as a `Trainer` needs them. */
import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Target } from '../io/sources.js'
import type { TrainBatch } from '../train/batches.js'
import {
  type Engine,
  type EngineFiles,
  type EngineResult,
  type EngineSettings,
  type EngineStep,
  IGNORED,
  measured,
  type RunObjective,
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

export class RemoteEngine implements Engine {
  readonly #model: RemoteModel
  readonly #optimizer: EngineOptimizer
  readonly #objective: RunObjective | null
  readonly #connection: Connection
  readonly #ratios: readonly number[]
  /** The averages of the weights. */
  readonly ema: RemoteEMA | null
  /** Of the wrapper, once it was asked for. */
  #ignored: Promise<number> | null = null

  /** @throws XTransformersError (`invalid_argument`) where the model is not one of this worker */
  constructor(model: unknown, optimizer: EngineOptimizer, { objective, ema }: EngineSettings) {
    const { connection } = optimizer[REMOTE]
    if (!(model instanceof RemoteModel) || model[REMOTE].connection !== connection) {
      const message = `Trainer: the model must be one of the worker that the optimizer is in, got ${describeValue(model)}`
      throw new XTransformersError('invalid_argument', message)
    }
    this.#model = model
    this.#optimizer = optimizer
    this.#objective = objective
    this.#connection = connection
    this.#ratios = ratiosOf(optimizer[RATES])
    this.ema = ema && new RemoteEMA(connection, model, ema)
  }

  get lr(): number {
    return this.#optimizer.lr
  }

  /** Whether the model predicts each token from those before it. */
  get #predicts(): boolean {
    return this.#model.constructor.name === 'AutoregressiveWrapper'
  }

  async step({ batches, lr, ...settings }: EngineStep): Promise<EngineResult> {
    await this.#setRates(lr)
    const packed = batches.map(({ args }, i) => this.#pack(args, `batches[${i}]`))
    const targets = this.#packTargets(batches)
    const step = {
      model: this.#model[REMOTE].id,
      optimizer: this.#optimizer[REMOTE].id,
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
    const params = { model: this.#model[REMOTE].id, optimizer: this.#optimizer[REMOTE].id }
    return this.#connection.request('describeRun', params)
  }

  async #setRates(lr: number): Promise<void> {
    if (this.#ratios.every((ratio) => ratio === 1)) {
      if (this.#optimizer.lr !== lr) this.#optimizer.lr = lr
      return
    }
    for (const [i, ratio] of this.#ratios.entries())
      await this.#optimizer.setOptions({ lr: lr * ratio }, i)
  }

  tokens(batch: TrainBatch): number {
    return tokensIn(batch, this.#predicts)
  }

  async countedTokens(batch: TrainBatch): Promise<number> {
    const own = this.#objective?.options.ignore_index ?? (await this.#ignoredIndex())
    return countedTokens(batch, { predicts: this.#predicts, ignored: own, countTensor })
  }

  #ignoredIndex(): Promise<number> {
    this.#ignored ??= this.#model.describe().then(({ options }) => {
      const { ignore_index } = options as { ignore_index?: number }
      return this.#predicts ? (ignore_index ?? IGNORED) : IGNORED
    })
    return this.#ignored
  }

  async evaluate(batch: TrainBatch): Promise<number> {
    const { value, transfer } = this.#pack(batch.args, 'a batch')
    const targets = this.#packTargets([batch], measured(this.#objective))
    const params = {
      model: this.#model[REMOTE].id,
      batch: value,
      objective: targets?.value ?? null,
    }
    const all = [...transfer, ...(targets?.transfer ?? [])]
    return await this.#connection.request('evaluate', params, { transfer: all })
  }

  async useAverages(on: boolean): Promise<void> {
    await (on ? this.ema?.apply() : this.ema?.restore())
  }

  async save({ model, optimizer, ema }: EngineFiles): Promise<void> {
    await this.#model.save(model)
    await this.#optimizer.save(optimizer)
    await this.ema?.save(ema)
  }

  async load({ model, optimizer, ema }: EngineFiles): Promise<void> {
    await this.#model.loadWeights(model)
    await this.#optimizer.load(optimizer)
    await this.ema?.load(ema)
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
    objective = this.#objective,
  ): Packed<WireObjective> | null {
    if (objective === null) return null
    const { kind, options } = objective
    const all = [batches.map(({ target }) => target), options]
    const { value, transfer } = this.#pack(all, 'the targets')
    return { value: { kind, targets: value[0] as unknown[], options: value[1] }, transfer }
  }
}
