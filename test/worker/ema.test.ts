import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import { type DoneEvent, type TrainEvent, Trainer } from 'x-transformers/train'
import type { AutoregressiveWrapper } from 'x-transformers/worker'
import { newFolder } from '../api/folder.js'
import { ids as mainTokens } from '../api/helpers.js'
import { eventsOf, weights as mainWeights } from '../api/runs.js'
import { ids, library, mainModel, smallModel, weights } from './helpers.js'

describe('averages of a model in a worker', () => {
  it('are those of the main library, and go on from a file', async () => {
    main.manualSeed(5)
    const own = mainModel()
    const [ownOptimizer, ownEma] = [
      new main.SGD(own.parameters(), { lr: 0.5 }),
      new main.EMA(own, { decay: 0.9, warmup: true }),
    ]
    for (let i = 0; i < 3; i++) {
      await main.trainStep(own, ownOptimizer, [[mainTokens(2, 9)]])
      await ownEma.update()
    }
    ownEma.copyTo()

    const x = await library()
    x.manualSeed(5)
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const first = new x.EMA(model, { decay: 0.9, warmup: true })
    const step = () => x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })
    for (let i = 0; i < 2; i++) {
      await step()
      await first.update()
    }
    const second = new x.EMA(model, { decay: 0.9, warmup: true })
    await second.load(await first.saveBytes())
    await step()
    await second.update()
    expect(await second.updates()).toBe(3)
    const before = await weights(model)
    await second.apply()
    const want = mainWeights(own)
    expect(await weights(model)).toEqual(want)
    await second.restore()
    expect(await weights(model)).toEqual(before)
    expect(await weights(await x.load<AutoregressiveWrapper>(await second.saveBytes()))).toEqual(
      want,
    )
    await second.copyTo()
    expect(await weights(model)).toEqual(want)
    second.dispose()
    await expect(second.update()).rejects.toMatchObject({ code: 'disposed' })
  })

  it('refuse other models, and calls that are for other objects', async () => {
    const [x, other] = [await library(), await library()]
    const model = smallModel(x)
    expect(() => new other.EMA(model)).toThrow(/one of this worker/)
    expect(() => new x.EMA(model, { decay: 2 })).toThrow(/decay/)
    const ema = await new x.EMA(model).ready
    await expect(
      x.trainStep({ model: ema as never, optimizer: new x.SGD(model), batches: [[]] as never }),
    ).rejects.toMatchObject({ code: 'invalid_argument' })
    await expect(ema.restore()).rejects.toMatchObject({ code: 'invalid_state' })
  })

  it('are those of a run, after a resume too', async () => {
    const settings = (more: object) => ({
      ...{ steps: 6, ema: 0.7, ...more },
      eval: { data: [[ids(2, 5)]], every: 2 },
    })
    const data = [6, 9, 7, 5]
    main.manualSeed(5)
    const own = mainModel()
    const wholeFolder = await newFolder()
    const whole = await eventsOf(
      new Trainer(own, {
        ...settings({ data: data.map((length) => [mainTokens(2, length)]) }),
        eval: { data: [[mainTokens(2, 5)]], every: 2 },
        optimizer: new main.SGD(own.parameters(), { lr: 0.5 }),
        checkpoint: { folder: wholeFolder },
      } as never),
    )
    const folder = await newFolder()
    const got: TrainEvent[] = []
    for (const [steps, seed] of [
      [3, 5],
      [6, 99],
    ] as const) {
      const x = await library()
      x.manualSeed(seed)
      const model = smallModel(x)
      const trainer = new Trainer(
        model,
        settings({
          ...{ data: data.map((length) => [ids(2, length)]), steps, resume: seed === 99 },
          ...{ optimizer: new x.SGD(model, { lr: 0.5 }), checkpoint: { folder } },
        }) as never,
      )
      got.push(...(await eventsOf(trainer)))
    }
    const losses = (events: TrainEvent[]) =>
      events.flatMap((event) =>
        event.type === 'evaluation' && event.step % 2 === 0 ? event.loss : [],
      )
    expect(losses(got)).toEqual(losses(whole))
    const [a, b] = [whole.at(-1), got.at(-1)] as [DoneEvent, DoneEvent]
    const loaded = await Promise.all([a, b].map(({ ema }) => main.load(ema as string)))
    const [want, found] = loaded.map(mainWeights)
    expect(found).toEqual(want)
  })
})
