/** The optimizer and the schedule of a configuration. */
import type { Module, Tensor } from 'x-transformers'
import * as training from 'x-transformers/train'
import { decayGroups, type RunSchedule, type Schedule } from 'x-transformers/train'
import type { TrainConfig } from '../config/schema.js'
import { UsageError, unknownName } from '../errors.js'
import { at } from './at.js'

type Settings = Record<string, unknown>
type Optimizer = training.AdamW
type OptimizerClass = new (params: unknown, options: Settings) => Optimizer
type MakeSchedule = (options: Settings) => Schedule

const exported = training as unknown as Readonly<Record<string, unknown>>

const isOptimizer = (value: unknown): value is OptimizerClass =>
  typeof value === 'function' && value.prototype?.zeroGrad !== undefined

/** The names of what the library exports of a kind. */
const namesOf = (isOne: (value: unknown) => boolean): string[] =>
  Object.keys(exported).filter((name) => isOne(exported[name]))

export function makeOptimizer(model: Module, { optimizer, decay }: TrainConfig): Optimizer {
  const { class: name, others, ...options } = optimizer
  const Class = exported[name]
  if (!isOptimizer(Class))
    throw unknownName('optimizer (train.optimizer.class)', name, namesOf(isOptimizer))
  if (others !== undefined && name !== 'Muon')
    throw new UsageError(
      `train.optimizer.others: is for Muon, which leaves a part to AdamW; ${name} steps all itself`,
    )
  return at('train.optimizer', () => {
    const groups = name === 'Muon' ? muonGroups(model, others) : [{ params: model.parameters() }]
    const apart = decay === 'matrices' ? groups.flatMap((group) => split(group, options)) : groups
    return new Class(apart, options)
  })
}

/** Parameters with settings of their own. */
type Group = { params: readonly Tensor[]; weight_decay?: unknown }

/** A group in two, where there is a decay: only its matrices have it. */
function split(group: Group, { weight_decay }: Settings): Group[] {
  const own = group.weight_decay ?? weight_decay
  return typeof own === 'number' && own > 0 ? decayGroups([group], own) : [group]
}

/**
 * The matrices between layers, which Muon steps, and the rest, which AdamW steps with settings of
 * its own: `others` of the configuration.
 */
function muonGroups(model: Module, others: unknown): Group[] {
  const [matrices, rest] = model.muonParameters()
  return [matrices, { ...rest, ...(others as object | undefined) }]
}

/** The functions that make a schedule, by the names that the library has for them. */
const SCHEDULES = [
  'constant',
  'linearWarmup',
  'cosineWarmup',
  'linearDecay',
  'inverseSqrt',
  'warmupStableDecay',
]

/** The steps of a schedule whose run is not counted in steps: they are shares of it. */
const SHARES = 1000

/** What a schedule takes besides the rate. */
const TOTAL = ['cosineWarmup', 'linearDecay', 'warmupStableDecay']

/**
 * The schedule of a run, by its steps. Where nobody knows how many there will be, it follows the
 * share of the run that is done, as if that had 1,000 steps.
 */
export function makeSchedule(
  { schedule, steps }: Pick<TrainConfig, 'schedule' | 'steps'>,
  lr: number,
): RunSchedule | undefined {
  if (!schedule) return undefined
  const { name, ...given } = schedule
  if (!SCHEDULES.includes(name))
    throw unknownName('schedule (train.schedule.name)', name, SCHEDULES)
  const total = (given.total_steps as number | undefined) ?? steps ?? SHARES
  const options: Settings = { lr, ...given, ...(TOTAL.includes(name) && { total_steps: total }) }
  // a run that was made shorter, to try it, is all warm-up
  if (typeof options.warmup_steps === 'number' && TOTAL.includes(name))
    options.warmup_steps = Math.min(options.warmup_steps, total)
  const rate = at('train.schedule', () => (exported[name] as MakeSchedule)(options))
  return steps === undefined ? (_, share) => rate(share * total) : (step) => rate(step)
}
