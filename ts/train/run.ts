/** A run of a trainer: how far it is, and what comes next. */
import { isText, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Module } from '../module/module.js'
import { Promises } from '../promises.js'
import type { TrainBatch } from './batches.js'
import type { Engine, EngineModel } from './engine.js'
import { engineOf } from './engine-of.js'
import { freeBatch, meanLoss } from './evaluate.js'
import type {
  CheckpointEvent,
  EvaluationEvent,
  SampleEvent,
  StepEvent,
  StopReason,
  TrainEvent,
} from './events.js'
import { Progress } from './progress.js'
import { RunFolder, type RunState, requireSameAverages } from './run-folder.js'
import type { CheckedOptions } from './trainer-options.js'

/** Who takes part in a run. */
export interface RunHooks {
  /** Before the first step. */
  start(engine: Engine): Promise<void>
  before_checkpoint(): Promise<void>
}

export class Run {
  readonly #model: Module | EngineModel
  readonly #options: CheckedOptions
  readonly #engine: Engine
  readonly #folder: RunFolder | null
  #hooks: RunHooks | null = null
  #start = 0
  readonly #now = new Progress()

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
  async *events(hooks: RunHooks): AsyncGenerator<TrainEvent, void, undefined> {
    this.#hooks = hooks
    try {
      await this.#prepare()
      await hooks.start(this.#engine)
      yield* this.#steps()
    } finally {
      await this.#options.data.close()
    }
  }

  /** What happens from the first step on. */
  async *#steps(): AsyncGenerator<TrainEvent, void, undefined> {
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
    requireSameAverages(state, this.#options.ema !== null)
    await this.#engine.load(folder.files(step))
    this.#options.data.restore(state.data)
    await this.#engine.setRandom(state.random)
    const { seconds, losses, eval_loss, evaluated, sampled, best, stale } = state
    Object.assign(this.#now, {
      ...{ step, seconds_before: seconds, losses, eval_loss, evaluated, sampled, best, stale },
      ...{ saved: step, checkpoint: folder.path(step) },
    })
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
    return Math.min(1, Math.max(step / steps, data.place / epochs, spent / last))
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
    const { data, schedule, clip, norms } = this.#options
    const now = this.#now
    const start = performance.now()
    const share = this.#share()
    const batches = await this.#batches()
    if (batches.length === 0) return null
    try {
      const lr = schedule ? schedule(now.step, share) : this.#engine.lr
      const { tokens, shares } = await this.#count(batches)
      const place = { step: now.step, last_checkpoint: now.checkpoint }
      const due = (now.step + 1) % (norms?.every ?? 1) === 0
      const grad_norms = due && Boolean(norms?.gradients)
      const activation_norms = due && Boolean(norms?.activations)
      const settings = { batches, shares, lr, place, grad_norms, activation_norms, ...clip }
      const result = await this.#engine.step(settings)
      const seconds = (performance.now() - start) / 1000
      now.add({ loss: result.loss, tokens, seconds })
      return {
        type: 'step',
        step: now.step,
        epoch: data.epoch,
        ...{ ...result, lr, tokens },
        seconds: this.#seconds(),
        tokens_per_second: now.tokens_per_second,
        share: this.#share(),
      }
    } finally {
      if (data.owned) for (const batch of batches) freeBatch(batch)
    }
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

  /** Evaluations, samples and checkpoints that are due after a step. */
  async *#afterStep(): AsyncGenerator<TrainEvent, void, undefined> {
    const { eval: evaluation, sample, checkpoint } = this.#options
    const { step } = this.#now
    const due = (every: number | null | undefined) => Boolean(every) && step % Number(every) === 0
    let improved = false
    if (due(evaluation?.every)) {
      const event = await this.#evaluate()
      if (event === null) return
      improved = event.best
      yield event
    }
    const every = checkpoint?.every ?? evaluation?.every ?? null
    const keep = checkpoint !== null && (due(every) || (improved && checkpoint.best))
    if (due(sample?.every) && !(yield* this.#sampled(keep))) return
    if (keep) yield await this.#checkpoint()
  }

  /** What is left to do at the end. */
  async *#atEnd(reason: StopReason): AsyncGenerator<TrainEvent, void, undefined> {
    const { eval: evaluation, sample } = this.#options
    const now = this.#now
    if (evaluation && now.evaluated !== now.step && reason !== 'aborted') {
      const event = await this.#evaluate()
      if (event) yield event
    }
    const keep = this.#folder !== null && now.saved !== now.step
    if (sample && now.sampled !== now.step && reason !== 'aborted') yield* this.#sampled(keep)
    if (keep) yield await this.#checkpoint()
    yield now.done(reason, this.#seconds(), this.#options.ema !== null)
  }

  /** Uses the model in eval mode, with random numbers that are not the run's. Null: an abort. */
  async #aside<T>(use: () => Promise<T> | T): Promise<T | null> {
    const random = await this.#engine.random()
    await this.#engine.useAverages(true)
    this.#model.eval()
    try {
      return await use()
    } catch (error) {
      if (this.#options.signal?.aborted) return null
      throw error
    } finally {
      await this.#engine.useAverages(false)
      this.#model.train()
      await this.#engine.setRandom(random)
    }
  }

  /** Measures the loss. Null after an abort. */
  async #evaluate(): Promise<EvaluationEvent | null> {
    const { eval: evaluation, early_stop, signal } = this.#options
    const now = this.#now
    const start = performance.now()
    if (evaluation === null) throw new XTransformersError('internal', 'there is no eval')
    const loss = await this.#aside(() => meanLoss(this.#engine, { ...evaluation, signal }))
    if (loss === null) return null
    // one that is not finite is never the best
    const best = loss < (now.best?.loss ?? Infinity) - (early_stop?.min_delta ?? 0)
    now.eval_loss = loss
    now.evaluated = now.step
    now.stale = best ? 0 : now.stale + 1
    if (best) now.best = { step: now.step, loss }
    const seconds = (performance.now() - start) / 1000
    return { type: 'evaluation', step: now.step, loss, best, seconds }
  }

  /**
   * A sample. Where it fails, the checkpoint that is due after it comes first, and the run ends
   * with the error of the sample, also where the checkpoint fails too.
   *
   * @returns false after an abort
   */
  async *#sampled(keep: boolean): AsyncGenerator<SampleEvent | CheckpointEvent, boolean> {
    let event: SampleEvent | null
    try {
      event = await this.#sample()
    } catch (error) {
      const saved = keep ? await this.#checkpoint().catch(() => null) : null
      if (saved) yield saved
      throw error
    }
    if (event) yield event
    return event !== null
  }

  /** Null after an abort. */
  async #sample(): Promise<SampleEvent | null> {
    const { sample } = this.#options
    const { step } = this.#now
    if (sample === null) throw new XTransformersError('internal', 'there is no sample')
    const text = await this.#aside(sample.make)
    if (text === null) return null
    if (!isText(text)) throw refuse('what sample.make gives', 'a text', text)
    this.#now.sampled = step
    return { type: 'sample', step, text }
  }

  async #checkpoint(): Promise<CheckpointEvent> {
    const { checkpoint, data } = this.#options
    const { step, losses, eval_loss, evaluated, sampled, best, stale } = this.#now
    if (this.#folder === null || checkpoint === null)
      throw new XTransformersError('internal', 'there is no folder for checkpoints')
    const state: RunState = {
      version: 1,
      step,
      seconds: this.#seconds(),
      random: await this.#engine.random(),
      data: data.state(),
      ...{ losses, eval_loss, evaluated, sampled, best, stale },
      ema: this.#options.ema !== null,
    }
    await this.#hooks?.before_checkpoint()
    const path = await this.#folder.write(state, (files) => this.#engine.save(files))
    this.#now.saved = step
    this.#now.checkpoint = path
    await this.#folder.prune(checkpoint.keep, [checkpoint.best ? best?.step : undefined])
    return { type: 'checkpoint', step, path, best: best?.step === step }
  }
}
