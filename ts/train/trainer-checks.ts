/** The checks of what a `Trainer` is told. */
import { checkFlag, checkFunction, checkNumber, checkOptions, isRecord, refuse } from '../checks.js'
import { checkSignal } from '../control.js'
import type { DatasetLike } from '../data/dataset.js'
import { DataLoader } from '../data/loader.js'
import { XTransformersError } from '../errors.js'
import { Batches, isUsedUp, type RepeatableData, type TrainData } from './batches.js'
import { checkEMA } from './ema-options.js'
import type { RunObjective } from './engine.js'
import { checkObserved } from './observe-options.js'
import { positive } from './option-checks.js'
import type {
  CheckedOptions,
  CheckpointOptions,
  ClipOptions,
  EarlyStopOptions,
  EvalOptions,
  TrainerOptions,
} from './trainer-options.js'

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
