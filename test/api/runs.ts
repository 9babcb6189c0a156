// Runs of small models, and what is told of them.
import { expect } from 'vitest'
import {
  AdamW,
  type AutoregressiveWrapper,
  type Module,
  manualSeed,
  SGD,
  type Tensor,
} from 'x-transformers'
import { type StepEvent, type TrainEvent, Trainer, type TrainerOptions } from 'x-transformers/train'
import { newFolder } from './folder.js'
import { ids, numbers, smallModel } from './helpers.js'

/** All weights of a model, in the order of its state dict. */
export const weights = (model: Module): number[] => [...model.stateDict().values()].flatMap(numbers)

/** Two models with the same weights. */
export function twins(layers: object = {}): [AutoregressiveWrapper, AutoregressiveWrapper] {
  const [a, b] = [smallModel(layers), smallModel(layers)]
  b.loadStateDict(a.stateDict())
  return [a, b]
}

export const sgd = (model: Module, lr = 0.1) => new SGD(model.parameters(), { lr })
export const adam = (model: Module) => new AdamW(model.parameters(), { lr: 3e-3 })

/** An epoch of batches of different lengths. */
export const epoch = (): [Tensor][] => [6, 9, 7, 5].map((length) => [ids(2, length)])

export async function eventsOf(trainer: Trainer): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  for await (const event of trainer) events.push(event)
  return events
}

export const stepsOf = (events: TrainEvent[]) =>
  events.filter((event): event is StepEvent => event.type === 'step')
export const lossesOf = (events: TrainEvent[]) => stepsOf(events).map(({ loss }) => loss)
export const typesOf = (events: TrainEvent[]) => events.map(({ type }) => type).join(' ')

/** An error of a run, whichever step it comes from. */
export async function errorOf(run: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await run.then(
    () => null,
    (e) => e,
  )
  expect(error).not.toBeNull()
  return error as { code: string; message: string }
}

/**
 * A run from its beginning to its end, of `twin`; and the same one that is aborted after some
 * steps, and then goes on with `second`, as in another process.
 *
 * @param settings the options of a run with its checkpoints in a folder
 */
export async function wholeAndResumed<Options extends TrainerOptions>(
  settings: (model: Module, folder: string, more: object) => Options,
  layers: object,
  steps: number,
) {
  const [model, twin] = twins(layers)
  manualSeed(1)
  const whole = await eventsOf(new Trainer(twin, settings(twin, await newFolder(), {})))

  manualSeed(1)
  const folder = await newFolder()
  const controller = new AbortController()
  const given = settings(model, folder, { signal: controller.signal })
  const stopped: TrainEvent[] = []
  for await (const event of new Trainer(model, given)) {
    stopped.push(event)
    if (event.type === 'step' && event.step === steps) controller.abort()
  }

  // another process would have drawn other numbers
  manualSeed(77)
  const second = smallModel(layers)
  const resumed = await eventsOf(new Trainer(second, settings(second, folder, { resume: true })))
  return { whole, stopped, resumed, twin, second, given }
}
