// What a run does between its steps: evaluations and checkpoints.
import { describe, expect, it } from 'vitest'
import {
  type AutoregressiveWrapper,
  cosineWarmup,
  Encoder,
  full,
  load,
  type Module,
  manualSeed,
  noGrad,
  randint,
  randn,
} from 'x-transformers'
import {
  type DoneEvent,
  type EvaluationEvent,
  Trainer,
  type TrainerOptions,
} from 'x-transformers/train'
import { saveTo } from '../../ts/io/sources.js'
import { RunFolder } from '../../ts/train/run-folder.js'
import { newFolder } from './folder.js'
import { smallModel, VOCABULARY } from './helpers.js'
import {
  adam,
  epoch,
  errorOf,
  eventsOf,
  lossesOf,
  sgd,
  stepsOf,
  twins,
  typesOf,
  weights,
  wholeAndResumed,
} from './runs.js'

describe('evaluations', () => {
  it('have the mean loss by tokens, in eval mode, and change nothing of the run', async () => {
    const [model, twin] = twins({ ff_dropout: 0.2 })
    const validation = epoch()
    const run = async (of: AutoregressiveWrapper, more: object) => {
      manualSeed(3)
      const options = { data: epoch(), optimizer: sgd(of), steps: 6 }
      return await eventsOf(new Trainer(of, { ...options, ...more }))
    }
    const events = await run(model, { eval: { data: validation, every: 4 } })
    const without = await run(twin, {})
    expect(typesOf(events)).toBe('step step step step evaluation step step evaluation done')
    expect(lossesOf(events)).toEqual(lossesOf(without))
    expect(model.training).toBe(true)
    let [total, tokens] = [0, 0]
    model.eval()
    for (const [x] of validation) {
      const count = 2 * ((x.shape[1] as number) - 1)
      total += count * Number((await noGrad(() => model.forward(x))).item())
      tokens += count
    }
    const done = events.at(-1) as DoneEvent
    expect(done.eval_loss).toBeCloseTo(total / tokens, 6)
  })

  it('stop a run that does not improve', async () => {
    const model = smallModel()
    const evaluation = { data: epoch(), every: 2 }
    const events = await eventsOf(
      new Trainer(model, {
        ...{ data: epoch(), optimizer: sgd(model, 0), steps: 50, eval: evaluation },
        early_stop: { patience: 3 },
      }),
    )
    const evaluations = events.filter((e): e is EvaluationEvent => e.type === 'evaluation')
    expect(evaluations.map(({ step, best }) => [step, best])).toEqual([
      [2, true],
      [4, false],
      [6, false],
      [8, false],
    ])
    expect(events.at(-1)).toMatchObject({ reason: 'early_stop', best: { step: 2 } })
  })

  it('are never the best with a loss that is not finite', async () => {
    const model = new Encoder({ dim: 8, depth: 1, heads: 1 })
    const args = [randn([1, 4, 8])]
    const batch = { args, target: randn([1, 4, 8]) }
    const targets = [full([1, 4, 8], Number.NaN), batch.target]
    const validation = {
      *[Symbol.iterator]() {
        yield { args, target: targets.shift() ?? batch.target }
      },
    }
    const trainer = new Trainer(model, {
      ...{ data: [batch], optimizer: sgd(model, 0), steps: 3, objective: 'mse' },
      eval: { data: validation, every: 1 },
    })
    const events = (await eventsOf(trainer)).filter((e) => e.type === 'evaluation')
    expect(events.map(({ best }) => best)).toEqual([false, true, false])
    expect(events.map(({ loss }) => Number.isFinite(loss))).toEqual([false, true, true])
  })

  it('are over as many batches as are wanted, the same each time', async () => {
    const model = smallModel()
    let asked = 0
    const validation = {
      *[Symbol.iterator]() {
        for (const batch of epoch()) {
          asked++
          yield batch
        }
      },
    }
    await new Trainer(model, {
      ...{ data: epoch(), optimizer: sgd(model), steps: 4 },
      eval: { data: validation, every: 2, batches: 3 },
    }).run()
    expect(asked).toBe(6)
  })
})

describe('checkpoints', () => {
  const settings = (model: Module, folder: string, more: object = {}): TrainerOptions => ({
    ...{ data: epoch(), optimizer: adam(model), steps: 11, clip: 1 },
    schedule: cosineWarmup({ lr: 3e-3, warmup_steps: 3, total_steps: 11 }),
    eval: { data: epoch().slice(0, 2), every: 3 },
    checkpoint: { folder, every: 5 },
    ...more,
  })

  it('let a run go on as if it had not been stopped, in the middle of an epoch', async () => {
    const layers = { attn_dropout: 0.2, ff_dropout: 0.2 }
    const draws = () => [randint(0, VOCABULARY, [2, 7])]
    for (const data of [epoch(), draws]) {
      const { whole, stopped, resumed, twin, second } = await wholeAndResumed(
        (model, folder, more) => settings(model, folder, { data, ...more }),
        layers,
        6,
      )
      expect(stopped.at(-1)).toMatchObject({ reason: 'aborted', steps: 6 })
      expect([...lossesOf(stopped), ...lossesOf(resumed)]).toEqual(lossesOf(whole))
      expect(stepsOf(resumed).map(({ step, epoch }) => [step, epoch])).toEqual(
        stepsOf(whole)
          .slice(6)
          .map(({ step, epoch }) => [step, epoch]),
      )
      expect(weights(second)).toEqual(weights(twin))
      const [a, b] = [whole.at(-1), resumed.at(-1)] as [DoneEvent, DoneEvent]
      expect([b.eval_loss, b.best, b.loss]).toEqual([a.eval_loss, a.best, a.loss])
    }
  })

  it('are the last ones and the best one, each a model that load reads', async () => {
    const model = smallModel()
    const folder = await newFolder()
    const events = await eventsOf(
      new Trainer(model, {
        ...settings(model, folder, { steps: 9 }),
        checkpoint: { folder, every: 1, keep: 2 },
        // lower at first, then higher
        schedule: (step) => (step < 3 ? 1e-2 : 1),
        eval: { data: epoch(), every: 3 },
      }),
    )
    const { best, checkpoint } = events.at(-1) as DoneEvent
    expect(checkpoint).toBe(`${folder}/step-9`)
    expect(best?.step).toBe(3)
    const there = async (step: number) =>
      await load<AutoregressiveWrapper>(`${folder}/step-${step}/model.safetensors`).then(
        () => true,
        () => false,
      )
    expect(await Promise.all([1, 2, 3, 4, 7, 8, 9].map(there))).toEqual([
      ...[false, false, true, false, false, true, true],
    ])
    const saved = await load<AutoregressiveWrapper>(`${checkpoint}/model.safetensors`)
    expect(weights(saved)).toEqual(weights(model))
  })

  it('of another run are not mixed with those of a new one', async () => {
    const model = smallModel()
    const folder = await newFolder()
    await new Trainer(model, settings(model, folder)).run()
    const { code, message } = await errorOf(new Trainer(model, settings(model, folder)).run())
    expect(code).toBe('invalid_argument')
    expect(message).toContain(`${folder}/step-11 is a checkpoint of an earlier run: resume: true`)
    // a run that is over goes on with nothing
    const events = await eventsOf(new Trainer(model, settings(model, folder, { resume: true })))
    expect(typesOf(events)).toBe('done')
    // and with more steps it goes on
    const more = settings(model, folder, { resume: true, steps: 13 })
    expect(stepsOf(await eventsOf(new Trainer(model, more))).map(({ step }) => step)).toEqual([
      ...[12, 13],
    ])
  })

  it('may be of a run that did not note yet when it was evaluated and sampled', async () => {
    const model = smallModel()
    const path = await newFolder()
    const folder = new RunFolder(path)
    const options = { data: epoch(), optimizer: adam(model), checkpoint: { folder: path } }
    await new Trainer(model, { ...options, steps: 3 }).run()
    const { evaluated, sampled, ...older } = await folder.read(3)
    expect([evaluated, sampled]).toEqual([-1, -1])
    const write = (state: object) =>
      saveTo(folder.path(3, 'trainer.json'), async () =>
        new TextEncoder().encode(JSON.stringify(state)),
      )
    await write(older)
    const resumed = new Trainer(model, { ...options, steps: 4, resume: true })
    expect(lossesOf(await eventsOf(resumed))).toHaveLength(1)
    await write({ ...older, evaluated: 'never' })
    await expect(folder.read(3)).rejects.toThrow(/is not what a Trainer has written/)
  })
})
