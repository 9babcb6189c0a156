/** A run of a trainer: how far it is, and what comes next. */
import { describeValue, has, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { Module } from '../module/module.js'
import { Promises } from '../promises.js'
import type { TrainBatch } from './batches.js'
import { ENGINE, type Engine, type EngineModel, type EngineOptimizer } from './engine.js'
import { freeBatch, meanLoss } from './evaluate.js'
import type {
  CheckpointEvent,
  EvaluationEvent,
  StepEvent,
  StopReason,
  TrainEvent,
} from './events.js'
import { LocalEngine } from './local-engine.js'
import { Optimizer } from './optimizer.js'
import { RunFolder, type RunState } from './run-folder.js'
import type { CheckedOptions } from './trainer-options.js'

/** The loss of the last steps is a mean over so many. */
const LAST_LOSSES = 50

/** How far a run is. */
interface Progress {
  step: number
  /** Before the run was resumed. */
  seconds_before: number
  /** The time of steps and of their data, in this process. */
  training_seconds: number
  /** The tokens and steps of this process. */
  tokens: number
  steps: number
  losses: number[]
  eval_loss: number | null
  /** The step of the last evaluation and of the last checkpoint. */
  evaluated: number
  saved: number
  best: { step: number; loss: number } | null
  stale: number
  checkpoint: string | null
}

export class Run {
  readonly #model: Module | EngineModel
  readonly #options: CheckedOptions
  readonly #engine: Engine
  readonly #folder: RunFolder | null
  #start = 0
  #now: Progress = {
    ...{ step: 0, seconds_before: 0, training_seconds: 0, tokens: 0, steps: 0 },
    ...{ losses: [], eval_loss: null, evaluated: -1, saved: -1, best: null, stale: 0 },
    checkpoint: null,
  }

  /** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
  constructor(model: Module | EngineModel, options: CheckedOptions) {
    this.#model = model
    this.#options = options
    this.#engine = engineOf(model, options)
    this.#folder = options.checkpoint && new RunFolder(options.checkpoint.folder)
  }

  /** The number of steps so far. */
  get step(): number {
    return this.#now.step
  }

  /** What does the work. */
  get engine(): Engine {
    return this.#engine
  }

  /** All that happens, which goes on while it is asked for. */
  async *events(): AsyncGenerator<TrainEvent, void, undefined> {
    try {
      await this.#prepare()
      this.#start = performance.now()
      let reason = this.#reasonToStop()
      while (reason === null) {
        const event = await this.#step()
        if (event === null) {
          reason = this.#reasonToStop() ?? 'data'
          break
        }
        yield event
        yield* this.#afterStep()
        reason = this.#reasonToStop()
      }
      yield* this.#atEnd(reason)
    } finally {
      await this.#options.data.close()
    }
  }

  async #prepare(): Promise<void> {
    const folder = this.#folder
    this.#model.train()
    if (folder === null) return
    await folder.clean()
    const last = (await folder.steps()).at(-1)
    if (last === undefined) return
    if (this.#options.resume) return await this.#resume(folder, last)
    const message = `${folder.path(last)} is a checkpoint of an earlier run: resume: true goes on from it; else give another folder`
    throw new XTransformersError('invalid_argument', message)
  }

  async #resume(folder: RunFolder, step: number): Promise<void> {
    const state = await folder.read(step)
    requireSameAverages(state, this.#options)
    await this.#engine.load(folder.files(step))
    this.#options.data.restore(state.data)
    await this.#engine.setRandom(state.random)
    const { seconds, losses, eval_loss, best, stale } = state
    this.#now = {
      ...this.#now,
      ...{ step, seconds_before: seconds, losses, eval_loss, best, stale },
      ...{ evaluated: step, saved: step, checkpoint: folder.path(step) },
    }
  }

  #seconds(): number {
    return this.#now.seconds_before + (performance.now() - this.#start) / 1000
  }

  /** How much of the run is done, from 0 to 1. */
  #share(): number {
    const { steps, epochs, seconds, data } = this.#options
    const { step, steps: own } = this.#now
    const spent = this.#seconds()
    // the time is over when another step would not fit into it
    const last = Math.max(seconds - (own ? this.#now.training_seconds / own : 0), 1e-3)
    return Math.min(1, Math.max(step / steps, data.epoch / epochs, spent / last))
  }

  #reasonToStop(): StopReason | null {
    const { signal, early_stop } = this.#options
    if (signal?.aborted) return 'aborted'
    if (early_stop && this.#now.stale >= early_stop.patience) return 'early_stop'
    return this.#share() >= 1 ? 'finished' : null
  }

  /** The batches of a step; fewer at the end of the data. */
  async #batches(): Promise<TrainBatch[]> {
    const { data, grad_accum } = this.#options
    const batches: TrainBatch[] = []
    while (batches.length < grad_accum) {
      const batch = await data.next()
      if (batch === null) break
      batches.push(batch)
    }
    return batches
  }

  async #step(): Promise<StepEvent | null> {
    const { data, schedule, clip } = this.#options
    const now = this.#now
    const start = performance.now()
    const share = this.#share()
    const batches = await this.#batches()
    if (batches.length === 0) return null
    try {
      const lr = schedule ? schedule(now.step, share) : this.#engine.lr
      const { tokens, shares } = await this.#count(batches)
      const place = { step: now.step, last_checkpoint: now.checkpoint }
      const settings = { batches, shares, lr, place, ...clip }
      const { loss, grad_norm } = await this.#engine.step(settings)
      now.step++
      now.steps++
      now.tokens += tokens
      now.training_seconds += (performance.now() - start) / 1000
      now.losses.push(loss)
      if (now.losses.length > LAST_LOSSES) now.losses.shift()
      return {
        type: 'step',
        step: now.step,
        epoch: data.epoch,
        ...{ loss, lr, grad_norm, tokens },
        seconds: this.#seconds(),
        tokens_per_second: this.#tokensPerSecond(),
        share: this.#share(),
      }
    } finally {
      if (data.owned) for (const batch of batches) freeBatch(batch)
    }
  }

  #tokensPerSecond(): number {
    const { tokens, training_seconds } = this.#now
    return training_seconds > 0 ? tokens / training_seconds : 0
  }

  /** The tokens of a step, and the shares of its batches. */
  async #count(
    batches: readonly TrainBatch[],
  ): Promise<{ tokens: number; shares: number[] | null }> {
    const [only] = batches
    if (batches.length === 1 && only) return { tokens: this.#engine.tokens(only), shares: null }
    const counts = await Promises.all(batches.map((batch) => this.#engine.countedTokens(batch)))
    const tokens = counts.reduce((a, b) => a + b, 0)
    return { tokens, shares: tokens > 0 ? counts.map((count) => count / tokens) : null }
  }

  /** Evaluations and checkpoints that are due after a step. */
  async *#afterStep(): AsyncGenerator<EvaluationEvent | CheckpointEvent, void, undefined> {
    const { eval: evaluation, checkpoint } = this.#options
    const { step } = this.#now
    const due = (every: number | null | undefined) => Boolean(every) && step % Number(every) === 0
    let improved = false
    if (due(evaluation?.every)) {
      const event = await this.#evaluate()
      if (event === null) return
      improved = event.best
      yield event
    }
    if (checkpoint === null) return
    const every = checkpoint.every ?? evaluation?.every ?? null
    if (due(every) || (improved && checkpoint.best)) yield await this.#checkpoint()
  }

  /** What is left to do at the end. */
  async *#atEnd(reason: StopReason): AsyncGenerator<TrainEvent, void, undefined> {
    const { eval: evaluation } = this.#options
    const now = this.#now
    if (evaluation && now.evaluated !== now.step && reason !== 'aborted') {
      const event = await this.#evaluate()
      if (event) yield event
    }
    if (this.#folder && now.saved !== now.step) yield await this.#checkpoint()
    yield {
      type: 'done',
      reason,
      steps: now.step,
      seconds: this.#seconds(),
      loss: mean(now.losses),
      eval_loss: now.eval_loss,
      best: now.best,
      tokens_per_second: this.#tokensPerSecond(),
      checkpoint: now.checkpoint,
      ema: now.checkpoint && this.#options.ema ? `${now.checkpoint}/ema.safetensors` : null,
    }
  }

  /** Measures the loss; it draws no random number of the run. Null after an abort. */
  async #evaluate(): Promise<EvaluationEvent | null> {
    const { eval: evaluation, early_stop, signal } = this.#options
    const now = this.#now
    const start = performance.now()
    const random = await this.#engine.random()
    await this.#engine.useAverages(true)
    this.#model.eval()
    try {
      if (evaluation === null) throw new XTransformersError('internal', 'there is no eval')
      const loss = await meanLoss(this.#engine, { ...evaluation, signal })
      const best = now.best === null || loss < now.best.loss - (early_stop?.min_delta ?? 0)
      now.eval_loss = loss
      now.evaluated = now.step
      now.stale = best ? 0 : now.stale + 1
      if (best) now.best = { step: now.step, loss }
      const seconds = (performance.now() - start) / 1000
      return { type: 'evaluation', step: now.step, loss, best, seconds }
    } catch (error) {
      if (signal?.aborted) return null
      throw error
    } finally {
      await this.#engine.useAverages(false)
      this.#model.train()
      await this.#engine.setRandom(random)
    }
  }

  async #checkpoint(): Promise<CheckpointEvent> {
    const { checkpoint, data } = this.#options
    const { step, losses, eval_loss, best, stale } = this.#now
    if (this.#folder === null || checkpoint === null)
      throw new XTransformersError('internal', 'there is no folder for checkpoints')
    const state: RunState = {
      version: 1,
      step,
      seconds: this.#seconds(),
      random: await this.#engine.random(),
      data: data.state(),
      ...{ losses, eval_loss, best, stale },
      ema: this.#options.ema !== null,
    }
    const path = await this.#folder.write(state, (files) => this.#engine.save(files))
    this.#now.saved = step
    this.#now.checkpoint = path
    await this.#folder.prune(checkpoint.keep, [checkpoint.best ? best?.step : undefined])
    return { type: 'checkpoint', step, path, best: best?.step === step }
  }
}

/** What runs the steps of a model. */
function engineOf(model: unknown, { optimizer, ...settings }: CheckedOptions): Engine {
  if (has(optimizer, ENGINE)) return (optimizer as EngineOptimizer)[ENGINE](model, settings)
  if (!(model instanceof Module)) {
    const message = `Trainer: the model must be a Module, got ${describeValue(model)}`
    throw new XTransformersError('invalid_argument', message)
  }
  if (optimizer instanceof Optimizer) return new LocalEngine(model, optimizer, settings)
  throw refuse('optimizer', 'an optimizer of this package', optimizer, 'invalid_options')
}

/** @throws XTransformersError (`invalid_checkpoint`) where only one of both runs has averages */
function requireSameAverages(state: RunState, { ema }: CheckedOptions): void {
  if (Boolean(state.ema) === (ema !== null)) return
  const [had, advice] = state.ema ? ['had', 'give ema'] : ['had no', 'leave ema out']
  const message = `the run of this checkpoint ${had} averages (ema): ${advice} to resume it`
  throw new XTransformersError('invalid_checkpoint', message)
}

const mean = (values: readonly number[]) =>
  values.reduce((a, b) => a + b, 0) / Math.max(1, values.length)
