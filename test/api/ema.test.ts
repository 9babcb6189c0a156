import { describe, expect, it } from 'vitest'
import {
  EMA,
  load,
  loadTensors,
  Module,
  manualSeed,
  noGrad,
  randn,
  type Tensor,
  TransformerWrapper,
} from 'x-transformers'
import { type DoneEvent, type EvaluationEvent, Trainer, trainStep } from 'x-transformers/train'
import { expectError, FakeFile } from './bytes.js'
import { newFolder } from './folder.js'
import { expectClose, expectThrows, ids, numbers, smallModel } from './helpers.js'
import { epoch, eventsOf, sgd as sgdAt, twins, weights, wholeAndResumed } from './runs.js'
import { encoder } from './zoo.js'

const averages = (ema: EMA) => [...ema.stateDict().weights.values()].flatMap(numbers)
const sgd = (model: Module) => sgdAt(model, 0.5)

/** Weights after each of some steps, and the averages that `decay` gives. */
async function expected(
  model: ReturnType<typeof smallModel>,
  decay: (update: number) => number,
  each: () => Promise<void>,
): Promise<number[]> {
  let want = weights(model)
  const optimizer = sgd(model)
  for (let n = 1; n <= 3; n++) {
    await trainStep(model, optimizer, [[ids(2, 9)]])
    await each()
    const now = weights(model)
    want = want.map((mean, i) => decay(n) * mean + (1 - decay(n)) * (now[i] as number))
  }
  return want
}

describe('an EMA', () => {
  it('is the exponential average of the weights', async () => {
    const model = smallModel()
    const before = weights(model)
    const ema = new EMA(model, { decay: 0.9 })
    expect(averages(ema)).toEqual(before)
    const want = await expected(
      model,
      () => 0.9,
      () => ema.update(),
    )
    expectClose(averages(ema), want, 1e-6)
    expect(ema.updates).toBe(3)
    expect(String(ema)).toMatch(/decay 0.9, 3 updates/)
  })

  it('forgets the first weights sooner with warmup', async () => {
    const model = smallModel()
    const ema = new EMA(model, { decay: 0.15, warmup: true })
    const decay = (n: number) => Math.min(0.15, n / (n + 9))
    const want = await expected(model, decay, async () => ema.updateSync())
    expectClose(averages(ema), want, 1e-6)
    expect(new EMA(model).decay).toBe(0.999)
  })

  it('stands in the place of the weights until they are put back', async () => {
    const model = smallModel()
    const ema = new EMA(model, { decay: 0.5 })
    const optimizer = sgd(model)
    await trainStep(model, optimizer, [[ids(2, 9)]])
    await ema.update()
    const [own, mean] = [weights(model), averages(ema)]
    expect(own).not.toEqual(mean)
    // in the order of the calls, without waiting
    const applied = ema.apply()
    const during = noGrad(() => model.forward(ids(2, 9)))
    const restored = ema.restore()
    const after = noGrad(() => model.forward(ids(2, 9)))
    await Promise.all([applied, restored])
    expect(weights(model)).toEqual(own)
    expect(averages(ema)).toEqual(mean)
    await ema.apply()
    expect([ema.applied, weights(model)]).toEqual([true, mean])
    expect((await noGrad(() => model.forward(ids(2, 9)))).item()).toBe((await during).item())
    for (const call of [() => ema.update(), () => ema.apply(), () => ema.saveBytes()])
      await expectError(call(), 'invalid_state', /restore\(\) first/)
    expect(() => ema.updateSync()).toThrow(/restore\(\) first/)
    await ema.restore()
    await expectError(ema.restore(), 'invalid_state', /apply\(\) before/)
    expect((await noGrad(() => model.forward(ids(2, 9)))).item()).toBe((await after).item())
    // training goes on
    await trainStep(model, optimizer, [[ids(2, 9)]])
  })

  it('is copied into its model, or another one', async () => {
    const [model, other] = [smallModel(), smallModel()]
    const ema = new EMA(model, { decay: 0.5 })
    await trainStep(model, sgd(model), [[ids(2, 9)]])
    await ema.update()
    const mean = averages(ema)
    ema.copyTo(other)
    expect(weights(other)).toEqual(mean)
    expect(weights(model)).not.toEqual(mean)
    ema.copyTo()
    expect(weights(model)).toEqual(mean)
    expect(() => ema.copyTo(encoder())).toThrow(/does not fit/)
  })

  it('is saved as a model, and goes on from its file', async () => {
    const model = smallModel()
    const options = { decay: 0.9, warmup: true }
    const ema = new EMA(model, options)
    const optimizer = sgd(model)
    await trainStep(model, optimizer, [[ids(2, 9)]])
    await ema.update()
    const file = new FakeFile()
    await ema.save(file)
    const bytes = await ema.saveBytes()
    expect(new Uint8Array(await (await file.getFile()).arrayBuffer())).toEqual(bytes)
    expect(weights(await load(bytes))).toEqual(averages(ema))
    const other = new EMA(model, options)
    await other.load(await ema.saveBlob())
    const third = new EMA(model, options)
    third.loadStateDict(ema.stateDict())
    await trainStep(model, optimizer, [[ids(2, 9)]])
    for (const one of [ema, other, third]) await one.update()
    expect([other.updates, averages(other)]).toEqual([2, averages(ema)])
    expect([third.updates, averages(third)]).toEqual([2, averages(ema)])
    const none = model.saveBytes()
    await expectError(other.load(await none), 'invalid_checkpoint', /no file that an EMA/)
    expect(() => other.loadStateDict({ updates: -1, weights: new Map() })).toThrow(/updates/)
    await expectError(new EMA(encoder()).load(bytes), 'invalid_checkpoint', /does not fit/)
  })

  it('knows models of one’s own, shared and frozen weights', async () => {
    class Own extends Module {
      table = randn([4, 3], { requires_grad: true })
      again = [this.table]
      body = encoder()
      async forward() {}
    }
    const model = new Own()
    for (const parameter of model.body.parameters()) parameter.requires_grad = false
    const ema = new EMA(model, { decay: 0.5 })
    const before = numbers(model.table)
    model.loadStateDict({ ...Object.fromEntries(model.stateDict()), table: randn([4, 3]) }, {})
    await ema.update()
    const want = numbers(model.table).map((value, i) => (value + (before[i] as number)) / 2)
    const { weights: named } = ema.stateDict()
    expectClose(numbers(named.get('table') as Tensor), want, 1e-6)
    expect(numbers(named.get('again.0') as Tensor)).toEqual(numbers(named.get('table') as Tensor))
    const file = await loadTensors(await ema.saveBytes())
    expect([...file.tensors.keys()].sort()).toEqual([...model.stateDict().keys()].sort())
  })

  it('holds what it needs, until it is disposed', async () => {
    const model = smallModel()
    const ema = new EMA(model)
    ema.dispose()
    await expectError(ema.update(), 'disposed', /disposed/)
    await model.forward(ids(1, 5))
  })

  it('gives the weights back when it is disposed in their place', async () => {
    const model = smallModel()
    const ema = new EMA(model, { decay: 0.5 })
    await trainStep(model, sgd(model), [[ids(2, 9)]])
    await ema.update()
    const own = weights(model)
    await ema.apply()
    expect(weights(model)).not.toEqual(own)
    ema.dispose()
    expect([ema.applied, weights(model)]).toEqual([false, own])
    ema.dispose()
    expect(weights(model)).toEqual(own)
    // without waiting
    const other = new EMA(model)
    const applied = other.apply()
    other.dispose()
    await applied
    expect(weights(model)).toEqual(own)
    // a model that is gone needs none
    const last = new EMA(model)
    await last.apply()
    model.dispose()
    last.dispose()
  })

  it('is not disposed where it has the weights of a model that was quantized', async () => {
    // quantized weights are on the CPU
    const model = smallModel({ dim: 32, attn_dim_head: 16 }).cpu()
    const ema = new EMA(model, { decay: 0.5 })
    await trainStep(model, sgd(model), [[ids(2, 9).cpu()]])
    await ema.update()
    const [own, state] = [weights(model), smallModel({ dim: 32, attn_dim_head: 16 }).cpu()]
    await ema.apply()
    model.quantize('q8_0')
    expectThrows(() => ema.dispose(), 'quantized', 'quantized')
    expect(ema.applied).toBe(true)
    model.loadStateDict(state.stateDict())
    ema.dispose()
    expect([ema.applied, weights(model)]).toEqual([false, own])
  })

  it('counts updates in the order of the calls, and those alone that were made', async () => {
    const [model, twin] = [smallModel(), smallModel()]
    twin.loadStateDict(model.stateDict())
    const options = { decay: 0.9, warmup: true }
    const ema = new EMA(model, options)
    for (let i = 0; i < 5; i++) ema.updateSync()
    const file = await ema.saveBytes()
    const [pending, awaited] = [new EMA(model, options), new EMA(twin, options)]
    await awaited.load(file)
    for (const of of [model, twin]) {
      manualSeed(2)
      await trainStep(of, sgd(of), [[ids(2, 9)]])
    }
    await awaited.update()
    const loaded = pending.load(file)
    const updated = pending.update()
    const saved = pending.saveBytes()
    await Promise.all([loaded, updated])
    expect([pending.updates, averages(pending)]).toEqual([6, averages(awaited)])
    const again = new EMA(model, options)
    await again.load(await saved)
    expect(again.updates).toBe(6)
    again.dispose()
    await expectError(again.update(), 'disposed', /disposed/)
    expect(() => again.updateSync()).toThrow(/disposed/)
    expect(again.updates).toBe(6)
  })

  it('refuses what is no decay and no model', () => {
    const model = smallModel()
    for (const decay of [1, -0.1, Number.NaN, '0.9'])
      expect(() => new EMA(model, { decay } as never)).toThrow(/decay/)
    expect(() => new EMA(model, { decays: 0.9 } as never)).toThrow(/decays is not an option/)
    expect(() => new EMA({} as never)).toThrow(/model of an EMA must be a Module/)
  })
})

describe('a run with averages', () => {
  const settings = (model: Module, folder: string, more: object = {}) => ({
    ...{ data: epoch(), optimizer: sgd(model), steps: 9, ema: { decay: 0.8, warmup: true } },
    eval: { data: epoch().slice(0, 2), every: 3 },
    checkpoint: { folder, every: 4 },
    ...more,
  })

  it('is evaluated with them, and leaves the weights alone', async () => {
    const [model, twin] = twins()
    const data = epoch()
    const [batch] = data as [[Tensor]]
    const trainer = new Trainer(model, {
      ...{ data, optimizer: sgd(model), steps: 4, ema: 0.5, eval: { data: [batch], every: 2 } },
    })
    const events = await eventsOf(trainer)
    const [optimizer, ema] = [sgd(twin), new EMA(twin, { decay: 0.5 })]
    const want: number[] = []
    for (const [i, own] of data.entries()) {
      await trainStep(twin, optimizer, [own])
      await ema.update()
      if (i % 2 === 0) continue
      await ema.apply()
      want.push((await noGrad(() => twin.eval().forward(batch[0]))).item() as number)
      await ema.restore()
      twin.train()
    }
    const evaluations = events.filter((event) => event.type === 'evaluation') as EvaluationEvent[]
    expect(evaluations.map(({ loss }) => loss)).toEqual(want)
    expect(weights(model)).toEqual(weights(twin))
    await trainer.ema?.copyTo()
    expect(weights(model)).toEqual(averages(ema))
    expect(events.at(-1)).toMatchObject({ checkpoint: null, ema: null })
  })

  it('goes on as if it had not been stopped, and leaves a model with them', async () => {
    const { whole, resumed, twin, second } = await wholeAndResumed(
      settings,
      { attn_dropout: 0.2 },
      5,
    )
    const [a, b] = [whole.at(-1), resumed.at(-1)] as [DoneEvent, DoneEvent]
    expect([b.eval_loss, b.best, b.loss]).toEqual([a.eval_loss, a.best, a.loss])
    expect(weights(second)).toEqual(weights(twin))
    const [of_a, of_b] = [await load(a.ema as string), await load(b.ema as string)]
    expect(weights(of_b)).toEqual(weights(of_a))
    expect(weights(of_b)).not.toEqual(weights(second))
  })

  it('is not mixed with one without', async () => {
    const folder = await newFolder()
    const model = smallModel()
    await new Trainer(model, settings(model, folder, { steps: 1 })).run()
    const other = settings(model, folder, { resume: true, ema: undefined })
    await expectError(new Trainer(model, other).run(), 'invalid_checkpoint', /give ema/)
    expect(() => new Trainer(model, settings(model, folder, { ema: 1 }))).toThrow(/decay/)
  })
})

it('an EMA of a model in evaluation mode leaves its mode', async () => {
  const model = new TransformerWrapper({
    ...{ num_tokens: 11, max_seq_len: 8, attn_layers: encoder() },
  })
  const ema = new EMA(model.eval())
  await ema.update()
  expect(model.training).toBe(false)
})
