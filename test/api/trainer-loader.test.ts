// A run on a DataLoader, which notes how far it is.
import { describe, expect, it } from 'vitest'
import { manualSeed } from 'x-transformers'
import { DataLoader, mapped, TokenArray, windows } from 'x-transformers/data'
import { type StepEvent, type TrainEvent, Trainer, type TrainerOptions } from 'x-transformers/train'
import { newFolder } from './folder.js'
import { bytesInUse, collect, smallModel, VOCABULARY } from './helpers.js'
import {
  adam,
  epoch,
  errorOf,
  eventsOf,
  lossesOf,
  stepsOf,
  twins,
  weights,
  wholeAndResumed,
} from './runs.js'

describe('a DataLoader', () => {
  const tokens = new TokenArray(Array.from({ length: 200 }, (_, i) => (i * i + 3 * i) % VOCABULARY))
  const loader = () =>
    new DataLoader(windows(tokens, { length: 8 }), {
      ...{ batch_size: 4, shuffle: true, seed: 3, prefetch: 2 },
    })

  it('says which share of a run by epochs is done, as arrays do', async () => {
    const few = new TokenArray(Array.from({ length: 33 }, (_, i) => i % VOCABULARY))
    const short = new DataLoader(windows(few, { length: 4 }), { batch_size: 2 })
    for (const data of [short, epoch()]) {
      const model = smallModel()
      const rates: number[] = []
      const schedule = (_: number, share: number) => {
        rates.push(share)
        return 0.1
      }
      const options = { data, optimizer: adam(model), epochs: 2, schedule }
      const steps = stepsOf(await eventsOf(new Trainer(model, options)))
      expect(steps).toHaveLength(8)
      for (const [i, { share }] of steps.entries()) {
        expect(share).toBeCloseTo((i + 1) / 8, 5)
        expect(rates[i]).toBeCloseTo(i / 8, 5)
      }
    }
  })

  it('goes on where it was, in the middle of an epoch and at its end', async () => {
    const validation = new DataLoader(windows(tokens, { length: 12 }), { batch_size: 5 })
    const run = async (folder: string, stop: number, more: Partial<TrainerOptions>) => {
      const model = smallModel({ ff_dropout: 0.2 })
      const options = { data: loader(), optimizer: adam(model), checkpoint: { folder, every: 6 } }
      const evaluation = { data: validation, every: 5, batches: 2 }
      const schedule = (_: number, share: number) => 0.01 * (1 - share / 2)
      const controller = new AbortController()
      const until = { eval: evaluation, schedule, epochs: 4, signal: controller.signal }
      const events: TrainEvent[] = []
      for await (const event of new Trainer(model, { ...options, ...until, ...more })) {
        events.push(event)
        if (event.type === 'step' && event.step === stop) controller.abort()
      }
      return { model, events }
    }
    manualSeed(4)
    const whole = await run(await newFolder(), 24, {})
    // 24 windows in batches of 4
    expect(loader().length).toBe(6)
    const all = stepsOf(whole.events)
    expect(all.map(({ epoch }) => epoch)).toEqual(
      Array.from({ length: 24 }, (_, i) => Math.floor(i / 6)),
    )
    for (const [i, { share }] of all.entries()) expect(share).toBeCloseTo((i + 1) / 24, 5)
    for (const stop of [6, 9]) {
      const folder = await newFolder()
      manualSeed(4)
      const first = await run(folder, stop, {})
      manualSeed(5)
      const second = await run(folder, 24, { resume: true })
      const events = [...stepsOf(first.events), ...stepsOf(second.events)]
      const told = (all: StepEvent[]) =>
        all.map(({ step, epoch, loss, share, lr }) => ({ step, epoch, loss, share, lr }))
      expect(told(events)).toEqual(told(all))
      expect(weights(second.model)).toEqual(weights(whole.model))
    }
  })

  it('goes on with the same random examples', async () => {
    // a fifth of the ids is another one, in each epoch others
    const noisy = mapped(windows(tokens, { length: 8 }), (row, _, random) =>
      Array.from(row, (id) => (random() < 0.2 ? Math.floor(random() * VOCABULARY) : Number(id))),
    )
    const data = (seed: number) =>
      new DataLoader(noisy, { ...{ batch_size: 4, shuffle: true, seed, prefetch: 2 } })
    const { whole, stopped, resumed, twin, second } = await wholeAndResumed(
      (model, folder, more) => ({
        ...{ data: data('resume' in more ? 99 : 3), optimizer: adam(model), steps: 15 },
        checkpoint: { folder, every: 4 },
        ...more,
      }),
      {},
      8,
    )
    expect([...lossesOf(stopped), ...lossesOf(resumed)]).toEqual(lossesOf(whole))
    expect(weights(second)).toEqual(weights(twin))
  })

  it('ends after its epochs, and its batches are freed', async () => {
    const model = smallModel()
    const optimizer = adam(model)
    const run = () => new Trainer(model, { data: loader(), optimizer, epochs: 2 }).run()
    expect(await run()).toMatchObject({ reason: 'finished', steps: 12 })
    await collect()
    const before = bytesInUse()
    await run()
    await collect()
    expect(bytesInUse() - before).toBeLessThan(1024)
    const used = loader()
    for await (const _ of used);
    const { steps } = await new Trainer(model, { data: used, optimizer, epochs: 1 }).run()
    expect(steps).toBe(6)
  })

  it('is made of a dataset and a batch_size', async () => {
    const [model, twin] = twins()
    const dataset = windows(tokens, { length: 8 })
    const options = { data: dataset, batch_size: 4, seed: 3, optimizer: adam(model), steps: 9 }
    const evaluation = { data: windows(tokens, { length: 12 }), every: 5 }
    const events = await eventsOf(new Trainer(model, { ...options, eval: evaluation }))
    const own = { data: loader(), optimizer: adam(twin), steps: 9 }
    const validation = new DataLoader(windows(tokens, { length: 12 }), { batch_size: 4 })
    const want = await eventsOf(new Trainer(twin, { ...own, eval: { data: validation, every: 5 } }))
    const losses = (all: TrainEvent[]) =>
      all.flatMap((event) => (event.type === 'evaluation' ? event.loss : []))
    expect(lossesOf(events)).toEqual(lossesOf(want))
    expect(losses(events)).toEqual(losses(want))
    expect(losses(events)).toHaveLength(2)
  })

  it('is refused where the run of the checkpoint had data of another kind', async () => {
    const model = smallModel()
    const checkpoint = { folder: await newFolder() }
    const options = { optimizer: adam(model), checkpoint, steps: 3 }
    await new Trainer(model, { ...options, data: loader() }).run()
    const other = new Trainer(model, { ...options, data: epoch(), resume: true, steps: 9 })
    expect(await errorOf(other.run())).toMatchObject({
      code: 'invalid_checkpoint',
      message: expect.stringContaining('had data of another kind'),
    })
  })
})
