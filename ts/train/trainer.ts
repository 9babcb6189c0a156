import { XTransformersError } from '../errors.js'
import type { Module } from '../module/module.js'
import type { Engine, EngineModel } from './engine.js'
import type { DoneEvent, TrainEvent } from './events.js'
import { logged } from './logged.js'
import { Run } from './run.js'
import { checkTrainer } from './trainer-checks.js'
import type { CheckedOptions, TrainerOptions } from './trainer-options.js'

/**
 * A run of training: steps, evaluations, checkpoints, an end. It is walked over as events, or given
 * a function that hears of them; between two events the caller may use the model.
 *
 * @example
 * const trainer = new Trainer(model, {
 *   data: new DataLoader(randomWindows(tokens, { length: 64 }), { batch_size: 12 }),
 *   optimizer: new AdamW(decayGroups(model, 0.1), { lr: 1e-3 }),
 *   schedule: cosineWarmup({ lr: 1e-3, warmup_steps: 100, total_steps: 2000, min_lr: 1e-4 }),
 *   steps: 2000,
 *   clip: 1,
 *   eval: { data: validation, every: 250 },
 *   checkpoint: { folder: 'runs/first' },
 * })
 * for await (const event of trainer)
 *   if (event.type === 'evaluation') console.log(event.step, event.loss)
 */
export class Trainer implements AsyncIterable<TrainEvent> {
  readonly model: Module | EngineModel
  readonly #run: Run
  readonly #options: CheckedOptions
  #started = false

  /** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
  constructor(model: Module | EngineModel, options: TrainerOptions) {
    this.model = model
    this.#options = checkTrainer(options)
    this.#run = new Run(model, this.#options)
  }

  /** The number of steps so far. */
  get step(): number {
    return this.#run.step
  }

  /**
   * The averages of the weights, with the option `ema`: `trainer.ema.copyTo()` puts them into the
   * model. An `EMA` of the worker for a model that is there.
   */
  get ema(): Engine['ema'] {
    return this.#run.engine.ema
  }

  /**
   * Runs to the end; `on_event` hears of each event, and is waited for where it gives a promise.
   *
   * @throws XTransformersError (`not_finite`) where the loss or the gradients are not finite;
   *   (`file`, `invalid_checkpoint`) about the folder of checkpoints; what `on_event` or a logger
   *   throws
   */
  async run(on_event: (event: TrainEvent) => unknown = () => {}): Promise<DoneEvent> {
    for await (const event of this) {
      await on_event(event)
      if (event.type === 'done') return event
    }
    throw new XTransformersError('internal', 'a run has ended without its last event')
  }

  /** The events of the run, which goes on while they are asked for. A trainer runs once. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TrainEvent, void, undefined> {
    if (this.#started) {
      const message = 'a Trainer runs once: make another one, with resume to go on'
      throw new XTransformersError('invalid_state', message)
    }
    this.#started = true
    yield* logged(this.#run, this.#options)
  }
}
