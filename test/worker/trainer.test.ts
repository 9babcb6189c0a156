import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import {
  type DoneEvent,
  type Logger,
  type RunInfo,
  type TrainEvent,
  Trainer,
} from 'x-transformers/train'
import {
  type AutoregressiveWrapper,
  type HostTensor,
  type Library,
  type RemoteModel,
  tensor,
} from 'x-transformers/worker'
import { newFolder } from '../api/folder.js'
import { ids as mainTokens } from '../api/helpers.js'
import { eventsOf, lossesOf, weights as mainWeights } from '../api/runs.js'
import { ids, library, mainModel, numbers, smallModel, smallNet, weights } from './helpers.js'

const DROPOUT = { attn_dropout: 0.2, ff_dropout: 0.2 }
const LENGTHS = [6, 9, 7, 5]

const settings = <More extends object>(more: More) => ({
  ...{ steps: 9, clip: 1, grad_accum: 2, norms: { every: 2, activations: true } },
  schedule: main.cosineWarmup({ lr: 3e-3, warmup_steps: 3, total_steps: 9 }),
  ...more,
})

/** What events tell of numbers, without times and paths. */
const plain = (events: TrainEvent[]) =>
  events.map((event) => {
    if (event.type === 'step') {
      const { step, epoch, loss, lr, grad_norm, grad_norms, activation_norms, tokens } = event
      return { step, epoch, loss, lr, grad_norm, grad_norms, activation_norms, tokens }
    }
    if (event.type === 'evaluation') return { step: event.step, loss: event.loss, best: event.best }
    return event.type
  })

/** A run of a model in a worker. */
function runOf(x: Library, more: object): { model: RemoteModel; trainer: Trainer } {
  const model = smallModel(x, DROPOUT)
  const data = LENGTHS.map((length) => [ids(2, length)])
  const options = {
    ...{ data, optimizer: new x.AdamW(model, { lr: 3e-3 }) },
    eval: { data: data.slice(0, 3), every: 4 },
    ...more,
  }
  return { model, trainer: new Trainer(model, settings(options)) }
}

describe('a Trainer of a model in a worker', () => {
  it('gives what one of the main library gives', async () => {
    main.manualSeed(5)
    const own = mainModel(DROPOUT)
    const data = LENGTHS.map((length) => [mainTokens(2, length)])
    const optimizer = new main.AdamW(own.parameters(), { lr: 3e-3 })
    const evaluation = { data: data.slice(0, 3), every: 4 }
    const want = await eventsOf(new Trainer(own, settings({ data, optimizer, eval: evaluation })))

    const x = await library()
    x.manualSeed(5)
    const { model, trainer } = runOf(x, {})
    const got = await eventsOf(trainer)
    expect(plain(got)).toEqual(plain(want))
    expect(plain(got)).toHaveLength(9 + 3 + 1)
    expect(await weights(model)).toEqual(mainWeights(own))
    expect(model.training).toBe(true)
  })

  it('makes samples aside, and tells loggers what one of the main library tells', async () => {
    const infos: RunInfo[] = []
    const logger: Logger = {
      start: (info) => void infos.push(info),
      log: () => {},
    }
    const own = mainModel(DROPOUT)
    const data = [[mainTokens(2, 6)]]
    const optimizer = new main.AdamW(own.parameters(), { lr: 3e-3 })
    await eventsOf(new Trainer(own, settings({ data, optimizer, loggers: [logger] })))

    const x = await library()
    const eventsWith = async (make: object) => {
      x.manualSeed(5)
      const { model, trainer } = runOf(x, { loggers: [logger], ...make })
      models.push(model as AutoregressiveWrapper)
      return await eventsOf(trainer)
    }
    const models: AutoregressiveWrapper[] = []
    const make = async () => {
      const model = models[1] as AutoregressiveWrapper
      expect(model.training).toBe(false)
      return String(numbers(await model.generate(ids(1, 2), 3)))
    }
    const without = await eventsWith({})
    const events = await eventsWith({ sample: { every: 4, make } })
    expect(events.flatMap((event) => (event.type === 'sample' ? event.step : []))).toEqual([
      4, 8, 9,
    ])
    expect(plain(events).filter((event) => event !== 'sample')).toEqual(plain(without))
    expect(infos[1]).toEqual(infos[2])
    expect(infos[1]).toEqual(infos[0])
  })

  it('goes on as if it had not been stopped', async () => {
    const whole = await library()
    whole.manualSeed(5)
    const folders = [await newFolder(), await newFolder()]
    const all = runOf(whole, { checkpoint: { folder: folders[0], every: 3 } })
    const want = await eventsOf(all.trainer)

    const first = await library()
    first.manualSeed(5)
    const controller = new AbortController()
    const checkpoint = { folder: folders[1], every: 3 }
    const stopped: TrainEvent[] = []
    for await (const event of runOf(first, { checkpoint, signal: controller.signal }).trainer) {
      stopped.push(event)
      if (event.type === 'step' && event.step === 5) controller.abort()
    }
    expect(stopped.at(-1)).toMatchObject({ reason: 'aborted', steps: 5 })

    const second = await library()
    second.manualSeed(99)
    const resumed = runOf(second, { checkpoint, resume: true })
    const got = await eventsOf(resumed.trainer)
    expect([...lossesOf(stopped), ...lossesOf(got)]).toEqual(lossesOf(want))
    expect(await weights(resumed.model)).toEqual(await weights(all.model))
    expect((got.at(-1) as DoneEvent).best).toEqual((want.at(-1) as DoneEvent).best)
  })

  it('leaves the tables of embeddings to AdamW, as the main library does', async () => {
    const x = await library()
    const options = { num_embeddings: 11, embedding_dim: 4 }
    const table = new x.Embedding(options)
    const groups = await table.muonParameters()
    expect(groups.map(({ params }) => params)).toEqual([[], ['weight']])
    const own = new main.Embedding(options)
    expect(own.muonParameters().map(({ params }) => params.length)).toEqual([0, 1])
    const want = [{ name: 'weight', shape: [11, 4], size: 44, table: true }]
    for (const { parameters } of [await table.describe(), main.describe(own)])
      expect(parameters).toEqual(want)
    const linear = new x.Linear({ in_features: 3, out_features: 4, bias: false })
    expect((await linear.describe()).parameters[0]).not.toHaveProperty('table')
    expect((await linear.muonParameters())[0].params).toEqual(['weight'])
  })

  it('steps with Muon and limits gradients as the main library does, after a resume too', async () => {
    main.manualSeed(5)
    const own = mainModel()
    const data = LENGTHS.map((length) => [mainTokens(2, length)])
    const [matrices, others] = own.muonParameters()
    const optimizer = new main.Muon([
      { ...matrices, lr: 0.02 },
      { ...others, lr: 0.005 },
    ])
    const clip = { value: 0.05, norm: 0.5 }
    const want = await eventsOf(new Trainer(own, settings({ data, optimizer, clip })))

    const folder = await newFolder()
    const got: TrainEvent[] = []
    for (const [steps, seed] of [
      [4, 5],
      [9, 99],
    ] as const) {
      const x = await library()
      x.manualSeed(seed)
      const model = smallModel(x)
      const [first, second] = await model.muonParameters()
      const trainer = new Trainer(
        model,
        settings({
          data: LENGTHS.map((length) => [ids(2, length)]),
          optimizer: new x.Muon([
            { ...first, lr: 0.02 },
            { ...second, lr: 0.005 },
          ]),
          ...{ clip, steps, checkpoint: { folder, every: 9 }, resume: seed === 99 },
        }),
      )
      got.push(...(await eventsOf(trainer)))
      if (seed === 99) expect(await weights(model)).toEqual(mainWeights(own))
    }
    const steps = (events: TrainEvent[]) => plain(events.filter(({ type }) => type === 'step'))
    expect(steps(got)).toEqual(steps(want))
  })

  it('keeps the ratios of the rates of groups, and takes an objective', async () => {
    const x = await library()
    const net = smallNet(x)
    const first = 'token_emb.emb.weight'
    const names = [...(await net.stateDict()).keys()].filter((name) => name !== first)
    const groups = [
      { model: net, params: [first], lr: 0.02 },
      { model: net, params: names.filter((name) => !name.endsWith('inv_freq')), lr: 0.01 },
    ]
    const optimizer = new x.SGD(groups, { lr: 0.01 })
    const target = ids(2, 8)
    const [want] = (await net.forward(ids(2, 8))).shape
    const objective = { kind: 'cross_entropy', ignore_index: 3 } as const
    const data = () => ({ args: [ids(2, 8)], target })
    const before = await net.stateDict()
    const events = await eventsOf(
      new Trainer(net, { data, optimizer, steps: 1, objective, schedule: () => 0 }),
    )
    expect(want).toBe(2)
    // a rate of 0 for all groups
    expect([...(await net.stateDict()).values()].map(numbers)).toEqual(
      [...before.values()].map(numbers),
    )
    expect(events[0]).toMatchObject({ type: 'step', tokens: 16, lr: 0 })
  })

  it('ends before the weights change where the loss is not finite', async () => {
    const x = await library()
    const { model, trainer } = runOf(x, {})
    const error = await trainer
      .run(async ({ type }) => {
        if (type !== 'step' || trainer.step !== 2) return
        const [name, value] = [...(await model.stateDict())].at(-1) as [string, HostTensor]
        const broken = tensor(new Float32Array(value.data.length).fill(Number.NaN), {
          shape: value.shape,
        })
        await model.loadStateDict({ [name]: broken }, { strict: false })
      })
      .then(
        () => null,
        (e) => e,
      )
    expect(error).toMatchObject({ code: 'not_finite' })
    expect(error.message).toMatch(
      /^the loss is NaN at step 2.* The largest gradients: net\.\S+ \(NaN\)/,
    )
  })

  it('refuses a model of elsewhere', async () => {
    const [x, y] = [await library(), await library()]
    const optimizer = new x.AdamW(smallModel(x))
    const options = { data: [[ids(1, 4)]], optimizer, steps: 1 }
    expect(() => new Trainer(smallModel(y), options)).toThrow(
      /the model must be one of the worker that the optimizer is in/,
    )
    const own = new main.Decoder({ dim: 8, depth: 1, heads: 1 })
    expect(() => new Trainer(own, options)).toThrow(/got a Decoder/)
    const local = { ...options, optimizer: new main.SGD(own.parameters()) }
    expect(() => new Trainer(smallModel(x), local)).toThrow(/the model must be a Module/)
  })
})
