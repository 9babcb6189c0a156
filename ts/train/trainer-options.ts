/** What a {@link Trainer} is told, and the checks of it. */
import { checkFlag, checkFunction, checkNumber, checkOptions, isRecord, refuse } from '../checks.js'
import { checkSignal } from '../control.js'
import type { DatasetLike } from '../data/dataset.js'
import { DataLoader } from '../data/loader.js'
import { XTransformersError } from '../errors.js'
import type { CrossEntropyOptions } from '../tensor/operations.js'
import { Batches, isUsedUp, type RepeatableData, type TrainData } from './batches.js'
import { checkEMA, type EMAOptions } from './ema-options.js'
import type { EngineSettings, RunObjective } from './engine.js'
import type { LocalOptimizer } from './local-engine.js'
import type { Logger } from './loggers.js'
import {
  checkObserved,
  type NormOptions,
  type Observed,
  type SampleOptions,
} from './observe-options.js'
import { positive } from './option-checks.js'

/**
 * The learning rate of a step, counted from 0; `share` is how much of the run is done, from 0 to 1,
 * for runs whose number of steps is not known.
 */
export type RunSchedule = (step: number, share: number) => number

/** An optimizer of `x-transformers/worker`. */
export interface WorkerOptimizer {
  readonly ready: Promise<unknown>
  lr: number
}

/** The data that a run is measured on. */
export interface EvalOptions {
  /** Each evaluation goes over it once: no iterator that is used up then. */
  data: RepeatableData | DatasetLike<unknown>
  /**
   * An evaluation after so many steps, and one at the end.
   *
   * @default 250
   */
  every?: number | undefined
  /** At most so many batches; absent: all. */
  batches?: number | undefined
}

/** Where a run is kept. */
export interface CheckpointOptions {
  /** A path (Node), or `opfs:folder` (browser). Each checkpoint is a folder in it. */
  folder: string
  /** A checkpoint after so many steps, and one at the end; absent: after each evaluation. */
  every?: number | undefined
  /**
   * The last so many are kept.
   *
   * @default 2
   */
  keep?: number | undefined
  /**
   * Whether the one with the lowest loss of the evaluations is kept too.
   *
   * @default true
   */
  best?: boolean | undefined
}

/** How gradients are limited. */
export interface ClipOptions {
  /** The largest norm of all gradients. */
  norm?: number | undefined
  /** The largest size of an element. */
  value?: number | undefined
}

/** When a run ends that does not improve any more. */
export interface EarlyStopOptions {
  /** The number of evaluations without a lower loss. */
  patience: number
  /**
   * How much lower a loss must be.
   *
   * @default 0
   */
  min_delta?: number | undefined
}

/** Options of a {@link Trainer}. One of `steps`, `epochs` and `seconds` is needed. */
export interface TrainerOptions {
  /** Batches: see {@link TrainData}; or, with `batch_size`, a dataset. */
  data: TrainData | DatasetLike<unknown>
  /**
   * The number of examples in a batch: `data`, and that of `eval`, are then datasets, of which
   * DataLoaders make batches; those of `data` are shuffled.
   */
  batch_size?: number | undefined
  /**
   * What decides the order of the examples, with `batch_size`.
   *
   * @default 0
   */
  seed?: number | undefined
  /** Of this thread, or of the worker that the model is in. */
  optimizer: LocalOptimizer | WorkerOptimizer
  /** Ends the run after so many steps. */
  steps?: number | undefined
  /** Ends the run after so many epochs of the data. */
  epochs?: number | undefined
  /** Ends the run when another step would not fit into this time. */
  seconds?: number | undefined
  /** Absent: the rate of the optimizer. Groups keep the ratios of their rates. */
  schedule?: RunSchedule | undefined
  /**
   * Batches for each step; their gradients are averaged by their tokens, so that a step is that of
   * one large batch.
   *
   * @default 1
   */
  grad_accum?: number | undefined
  /**
   * The largest norm of all gradients; larger ones are scaled down. Or with a largest size of their
   * elements, which is applied first. Absent: they stay.
   */
  clip?: number | ClipOptions | undefined
  /**
   * What makes a loss of what `forward` gives and the `target` of a batch. Evaluations are without
   * its label smoothing.
   */
  objective?:
    | 'cross_entropy'
    | 'mse'
    | ({ kind: 'cross_entropy' } & CrossEntropyOptions)
    | undefined
  eval?: EvalOptions | undefined
  checkpoint?: CheckpointOptions | undefined
  /**
   * Goes on from the last checkpoint in the folder, where there is one: with its weights,
   * optimizer, place in the data and random numbers, so that the run gives what it would have
   * given. Without it, a folder that has checkpoints is refused.
   *
   * @default false
   */
  resume?: boolean | undefined
  /**
   * Averages of the weights, as those of `EMA`: a decay, or its options. Evaluations use them, and
   * checkpoints hold them beside the weights.
   */
  ema?: number | EMAOptions | undefined
  early_stop?: EarlyStopOptions | undefined
  sample?: SampleOptions | undefined
  norms?: NormOptions | undefined
  /** Who hears of the run, one after the other: see {@link Logger}. */
  loggers?: readonly Logger[] | undefined
  /** Ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal | undefined
}

/** Options whose values are checked, with their defaults. */
export interface CheckedOptions extends EngineSettings, Observed {
  data: Batches
  batch_size: number | null
  optimizer: unknown
  steps: number
  epochs: number
  seconds: number
  schedule: RunSchedule | null
  grad_accum: number
  clip: { max_grad_norm: number; max_grad_value: number | null }
  eval: { data: RepeatableData; every: number; batches: number } | null
  checkpoint: { folder: string; every: number | null; keep: number; best: boolean } | null
  resume: boolean
  early_stop: { patience: number; min_delta: number } | null
  signal: AbortSignal | undefined
}

const KEYS = [
  ...[
    'data',
    'batch_size',
    'seed',
    'optimizer',
    'steps',
    'epochs',
    'seconds',
    'schedule',
    'grad_accum',
    'clip',
  ],
  ...['objective', 'eval', 'checkpoint', 'resume', 'ema', 'early_stop', 'signal'],
  ...['sample', 'norms', 'loggers'],
]

const wrong = (message: string) => new XTransformersError('invalid_options', `Trainer: ${message}`)

/** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
export function checkTrainer(given: TrainerOptions): CheckedOptions {
  const options = checkOptions(given, 'Trainer', KEYS)
  const [steps, epochs] = [options.steps, options.epochs].map((value, i) =>
    positive(value, i ? 'epochs' : 'steps', true, Infinity),
  ) as [number, number]
  const seconds = positive(options.seconds, 'seconds', false, Infinity)
  if (Math.min(steps, epochs, seconds) === Infinity)
    throw wrong('give steps, epochs or seconds, at whose end the run is over')
  if (options.schedule) checkFunction(options.schedule, 'schedule')
  const checkpoint = checkCheckpoint(options.checkpoint)
  const [data, asBatches] = checkData(options)
  const evaluation = checkEval(options.eval, asBatches)
  const early_stop = checkEarlyStop(options.early_stop)
  if (early_stop && !evaluation) throw wrong('early_stop needs eval: it compares its losses')
  const resume = checkFlag(options.resume, 'resume', false)
  if (resume && !checkpoint) throw wrong('resume needs checkpoint: it goes on from its folder')
  return {
    data: new Batches(data, 'data', { epochs }),
    batch_size: options.batch_size ?? null,
    optimizer: options.optimizer,
    steps,
    epochs,
    seconds,
    schedule: options.schedule ?? null,
    grad_accum: positive(options.grad_accum, 'grad_accum', true, 1),
    clip: checkClip(options.clip),
    objective: checkRunObjective(options.objective),
    ema: checkAverages(options.ema),
    eval: evaluation,
    checkpoint,
    resume,
    early_stop,
    signal: checkSignal(options.signal),
    ...checkObserved(options),
  }
}

function checkClip(given: TrainerOptions['clip']): CheckedOptions['clip'] {
  const alone = given === undefined || given === null || typeof given === 'number'
  const { norm, value }: ClipOptions = alone
    ? { norm: given ?? undefined }
    : checkOptions(given, 'clip', ['norm', 'value'])
  return {
    max_grad_norm: positive(norm, alone ? 'clip' : 'clip.norm', false, Infinity),
    max_grad_value: positive(value, 'clip.value', false, null),
  }
}

function checkAverages(given: TrainerOptions['ema']): CheckedOptions['ema'] {
  if (given === undefined || given === null) return null
  return checkEMA(typeof given === 'number' ? { decay: given } : given, 'ema')
}

function checkRunObjective(objective: TrainerOptions['objective']): RunObjective | null {
  if (objective === undefined || objective === null) return null
  if (objective === 'cross_entropy' || objective === 'mse') return { kind: objective, options: {} }
  if (isRecord(objective) && objective.kind === 'cross_entropy') {
    const { kind, ...options } = objective
    return { kind, options }
  }
  const wanted = "'cross_entropy', 'mse' or { kind: 'cross_entropy', ... }"
  throw refuse('objective', wanted, objective, 'invalid_options')
}

/** Makes batches of a dataset for evaluations, where the run makes them. */
type AsBatches = (data: unknown) => unknown

/** The batches of a run, and how those of its evaluations are made. */
function checkData(options: TrainerOptions): [data: TrainData, asBatches: AsBatches] {
  const { data, batch_size, seed } = options
  if (batch_size === undefined || batch_size === null) {
    if (seed !== undefined && seed !== null)
      throw wrong('seed needs batch_size: it is for batches that are made of a dataset')
    return [data as TrainData, (of) => of]
  }
  const settings = { batch_size: positive(batch_size, 'batch_size', true, 1), seed: seed ?? 0 }
  const loader = (of: unknown, more: object) =>
    new DataLoader(of as DatasetLike<never>, { ...settings, ...more })
  return [
    loader(data, { shuffle: true, drop_last: true }) as TrainData,
    (of) => loader(of, { shuffle: false }),
  ]
}

function checkEval(
  given: EvalOptions | null | undefined,
  asBatches: AsBatches,
): CheckedOptions['eval'] {
  if (given === undefined || given === null) return null
  const { data: own, every, batches } = checkOptions(given, 'eval', ['data', 'every', 'batches'])
  const data = asBatches(own) as RepeatableData
  const wanted = 'a DataLoader, or batches that can be iterated more than once'
  if (typeof data === 'function' || isUsedUp(data))
    throw refuse('eval.data', wanted, data, 'invalid_options')
  // refuses what is no data
  new Batches(data, 'eval.data')
  return {
    data,
    every: positive(every, 'eval.every', true, 250),
    batches: positive(batches, 'eval.batches', true, Infinity),
  }
}

function checkCheckpoint(given: CheckpointOptions | null | undefined) {
  if (given === undefined || given === null) return null
  const keys = ['folder', 'every', 'keep', 'best']
  const { folder, every, keep, best } = checkOptions(given, 'checkpoint', keys)
  if (typeof folder !== 'string' || folder === '')
    throw refuse('checkpoint.folder', 'the path of a folder', folder, 'invalid_options')
  return {
    folder,
    every: positive(every, 'checkpoint.every', true, null),
    keep: positive(keep, 'checkpoint.keep', true, 2),
    best: checkFlag(best, 'checkpoint.best', true),
  }
}

function checkEarlyStop(given: EarlyStopOptions | null | undefined): CheckedOptions['early_stop'] {
  if (given === undefined || given === null) return null
  const { patience, min_delta } = checkOptions(given, 'early_stop', ['patience', 'min_delta'])
  const least = checkNumber(min_delta ?? 0, 'early_stop.min_delta')
  if (least < 0) throw refuse('early_stop.min_delta', 'from 0', min_delta, 'invalid_options')
  return { patience: positive(patience ?? 0, 'early_stop.patience', true, 0), min_delta: least }
}
