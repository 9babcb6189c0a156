// What a run shows of itself: samples, norms by layer, loggers.
import { describe, expect, it } from 'vitest'
import { AdamW, Module, manualSeed, ones, SGD, Tensor, trainStep } from 'x-transformers'
import {
  gradNorms,
  type Logger,
  type RunInfo,
  type SampleEvent,
  type TrainEvent,
  Trainer,
  type TrainerOptions,
} from 'x-transformers/train'
import { newFolder } from './folder.js'
import { ids, numbers, smallModel, smallNet } from './helpers.js'
import { adam, epoch, stepsOf, eventsOf as toldBy } from './runs.js'

const settings = (model: Module): TrainerOptions => ({
  data: epoch(),
  optimizer: adam(model),
  steps: 6,
})

const eventsOf = async (model: Module, more: object) =>
  await toldBy(new Trainer(model, { ...settings(model), ...more }))

/** Remembers what it hears. */
class Memory implements Logger {
  readonly heard: string[] = []
  info: RunInfo | null = null
  readonly fails: string | undefined

  constructor(fails?: string) {
    this.fails = fails
  }

  #hear(what: string) {
    this.heard.push(what)
    if (what === this.fails) throw new Error(`fails at ${what}`)
  }

  async start(info: RunInfo) {
    this.info = info
    this.#hear('start')
  }

  log(event: TrainEvent) {
    this.#hear(event.type)
  }

  async close() {
    this.#hear('close')
  }
}

describe('loggers', () => {
  it('hear of all of a run, before its caller', async () => {
    const [first, second] = [new Memory(), new Memory()]
    const model = smallModel()
    const lengths: number[] = []
    const trainer = new Trainer(model, { ...settings(model), steps: 2, loggers: [first, second] })
    for await (const _ of trainer) lengths.push(first.heard.length, second.heard.length)
    expect(lengths).toEqual([2, 2, 3, 3, 4, 4])
    expect(first.heard).toEqual(['start', 'step', 'step', 'done', 'close'])
    expect(second.heard).toEqual(first.heard)
  })

  it('are told the options, the model and the optimizer, as JSON', async () => {
    const model = smallModel()
    const logger = new Memory()
    const [one, ...others] = model.parameters() as [Tensor, ...Tensor[]]
    const optimizer = new AdamW([{ params: [one], weight_decay: 0 }, { params: others }], {
      lr: 0.1,
    })
    const options = { optimizer, clip: 0.5, grad_accum: 2, epochs: 3, steps: 1 }
    await eventsOf(model, { ...options, loggers: [logger] })
    const { info } = logger
    expect(JSON.parse(JSON.stringify(info))).toEqual(info)
    expect(info).toMatchObject({
      model: { class: 'AutoregressiveWrapper', options: model.options },
      num_parameters: model.numParameters,
      device: one.device,
      ...{ step: 0, steps: 1, epochs: 3, seconds: null, batch_size: null },
      ...{ grad_accum: 2, clip: 0.5 },
    })
    expect(info?.optimizer.class).toBe('AdamW')
    expect(info?.optimizer.groups).toMatchObject([
      { lr: 0.1, weight_decay: 0, betas: [0.9, 0.999], params: 1 },
      { lr: 0.1, weight_decay: 0.01, params: others.length },
    ])
  })

  it('are told where a run goes on', async () => {
    const folder = await newFolder()
    const model = smallModel()
    await eventsOf(model, { steps: 4, checkpoint: { folder } })
    const logger = new Memory()
    await eventsOf(model, { checkpoint: { folder }, resume: true, loggers: [logger] })
    expect(logger.info?.step).toBe(4)
    expect(logger.heard.filter((what) => what === 'step')).toHaveLength(2)
  })

  it.each(['start', 'step', 'done', 'close'])('end a run that they fail in: %s', async (at) => {
    const [before, failing, after] = [new Memory(), new Memory(at), new Memory()]
    const run = eventsOf(smallModel(), { loggers: [before, failing, after] })
    await expect(run).rejects.toThrow(`fails at ${at}`)
    for (const { heard } of [before, failing, after]) {
      expect(heard.at(-1)).toBe('close')
      expect(heard.filter((what) => what === 'close')).toHaveLength(1)
    }
    // those behind it do not hear of what has ended the run
    if (at !== 'close') expect(after.heard).not.toContain(at)
  })

  it('are closed where the run fails, which is told, and where nobody asks for more', async () => {
    const failing = new Memory('close')
    const model = smallModel()
    const broken = {
      *[Symbol.iterator]() {
        yield [ids(2, 5)]
        throw new Error('no more data')
      },
    }
    await expect(eventsOf(model, { data: broken, loggers: [failing] })).rejects.toThrow('no more')
    expect(failing.heard).toEqual(['start', 'step', 'close'])

    const logger = new Memory()
    for await (const _ of new Trainer(model, { ...settings(model), loggers: [logger] })) break
    expect(logger.heard).toEqual(['start', 'step', 'close'])
  })

  it('need a method log', () => {
    const model = smallModel()
    const wrong = (loggers: unknown) => () =>
      new Trainer(model, { ...settings(model), loggers: loggers as Logger[] })
    expect(wrong([{}])).toThrow(/loggers\[0\] must be an object with a method log/)
    expect(wrong({ log() {} })).toThrow(/loggers must be an array/)
  })
})

describe('samples', () => {
  it('change nothing of the run, and come once in so many steps and at its end', async () => {
    const layers = { attn_dropout: 0.2, ff_dropout: 0.2 }
    const model = smallModel(layers)
    const twin = smallModel(layers)
    twin.loadStateDict(model.stateDict())
    const modes: boolean[] = []
    const make = async () => {
      modes.push(model.training)
      const tokens = await model.generate(ids(1, 2), 4)
      return numbers(tokens).join(' ')
    }
    manualSeed(3)
    const events = await eventsOf(model, { sample: { every: 4, make } })
    manualSeed(3)
    const without = await eventsOf(twin, {})
    const types = 'step step step step sample step step sample done'
    expect(events.map(({ type }) => type).join(' ')).toBe(types)
    expect(stepsOf(events).map(({ loss }) => loss)).toEqual(
      stepsOf(without).map(({ loss }) => loss),
    )
    const samples = events.filter((event): event is SampleEvent => event.type === 'sample')
    expect(samples.map(({ step }) => step)).toEqual([4, 6])
    for (const { text } of samples) expect(text).toMatch(/^\d+( \d+){3}$/)
    expect(modes).toEqual([false, false])
    expect(model.training).toBe(true)
  })

  it('are not made twice where a run is resumed', async () => {
    const folder = await newFolder()
    const model = smallModel()
    const options = { checkpoint: { folder }, sample: { every: 3, make: () => 'a text' } }
    await eventsOf(model, options)
    const resumed = await eventsOf(model, { ...options, resume: true })
    expect(resumed.map(({ type }) => type)).toEqual(['done'])
  })

  it('lose no checkpoint where making one fails', async () => {
    const fails = () => {
      throw new Error('no sample')
    }
    // at a step with a checkpoint, and at the end
    for (const [every, step] of [
      [4, 4],
      [9, 6],
    ] as const) {
      const folder = await newFolder()
      const model = smallModel()
      const options = { checkpoint: { folder, every: 2 }, sample: { every, make: fails } }
      const told: TrainEvent[] = []
      const logger = { log: (event: TrainEvent) => void told.push(event) }
      const run = eventsOf(model, { ...options, loggers: [logger] })
      await expect(run).rejects.toThrow('no sample')
      expect(told.at(-1)).toMatchObject({ type: 'checkpoint', step })
      const more = { ...options, sample: undefined, steps: 7, resume: true }
      const resumed = stepsOf(await eventsOf(smallModel(), more))
      expect(resumed.map((event) => event.step)).toEqual(
        Array.from({ length: 7 - step }, (_, i) => step + 1 + i),
      )
    }
  })

  it('end a run with their own error where the checkpoint after it fails too', async () => {
    const model = smallModel()
    const make = () => {
      throw new Error('no sample')
    }
    const logger = {
      log() {},
      flush() {
        throw new Error('no room')
      },
    }
    const checkpoint = { folder: await newFolder(), every: 9 }
    const run = eventsOf(model, { checkpoint, sample: { every: 9, make }, loggers: [logger] })
    await expect(run).rejects.toThrow('no sample')
  })

  it('end a run where making one fails, or gives no text', async () => {
    const model = smallModel()
    const run = (make: unknown) => eventsOf(model, { sample: { every: 1, make } })
    await expect(run(() => 5)).rejects.toThrow(/what sample.make gives must be a text, got 5/)
    const fail = async () => {
      throw new Error('no sample')
    }
    await expect(run(fail)).rejects.toThrow('no sample')
    expect(model.training).toBe(true)
    await expect(run(undefined)).rejects.toThrow(/sample.make must be a function/)
    await expect(eventsOf(model, { sample: { make: () => '' } })).rejects.toThrow(/sample.every/)
  })
})

describe('norms of gradients', () => {
  const LAYERS = [
    'net.token_emb',
    'net.pos_emb',
    ...['net.attn_layers.layers.0', 'net.attn_layers.layers.1'],
    ...['net.norm', 'net.to_logits'],
  ]

  it('are those of each layer', async () => {
    const model = smallModel()
    expect(await gradNorms(model)).toEqual({})
    const loss = await model.forward(ids(2, 9))
    await loss.backward()
    const norms = await gradNorms(model)
    expect(Object.keys(norms)).toEqual(LAYERS)
    const squares: Record<string, number> = Object.fromEntries(LAYERS.map((name) => [name, 0]))
    for (const [name, { grad }] of model.namedParameters()) {
      const layer = LAYERS.find((prefix) => name.startsWith(`${prefix}.`)) as string
      for (const value of numbers(grad as Tensor))
        squares[layer] = (squares[layer] ?? 0) + value ** 2
    }
    for (const [layer, sum] of Object.entries(squares))
      expect(norms[layer]).toBeCloseTo(Math.sqrt(sum), 5)
    await expect(gradNorms({} as Module)).rejects.toMatchObject({ code: 'invalid_argument' })
  })

  it('come with the steps that were asked for, before clipping', async () => {
    const model = smallModel()
    const events = await eventsOf(model, { norms: { every: 2 }, clip: 1e-3, steps: 4 })
    const steps = stepsOf(events)
    expect(steps.map(({ grad_norms }) => grad_norms !== null)).toEqual([false, true, false, true])
    for (const { grad_norm, grad_norms } of steps) {
      if (grad_norms === null) continue
      expect(Object.keys(grad_norms)).toEqual(LAYERS)
      const whole = Math.hypot(...Object.values(grad_norms))
      expect(whole).toBeGreaterThan(1e-2)
      expect(whole / (grad_norm as number)).toBeCloseTo(1, 5)
    }
    const off = await eventsOf(model, { norms: { gradients: false }, steps: 1 })
    expect(stepsOf(off)[0]?.grad_norms).toBeNull()
  })

  it('change no gradient', async () => {
    const [model, twin] = [smallNet(), smallNet()]
    twin.loadStateDict(model.stateDict())
    const objective = { cross_entropy: [ids(2, 8)] }
    const sgd = new SGD(twin.parameters(), { lr: 0.1 })
    await trainStep(twin, sgd, [[ids(2, 8)]], { objective, max_grad_norm: 0.01 })
    await eventsOf(model, {
      data: [{ args: [ids(2, 8)], target: ids(2, 8) }],
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      ...{ objective: 'cross_entropy', steps: 1, clip: 0.01, norms: {} },
    })
    const weights = (of: Module) => of.parameters().flatMap(numbers)
    expect(weights(model)).toEqual(weights(twin))
  })

  it('name parameters beside other parts by themselves', async () => {
    class Own extends Module {
      scale = ones([2], { requires_grad: true })
      blocks = [
        { a: ones([2], { requires_grad: true }) },
        { a: ones([2], { requires_grad: true }) },
      ]
      head = { linear: { weight: ones([2], { requires_grad: true }) } }
      forward() {
        return Tensor
      }
    }
    const own = new Own()
    const parameters = own.parameters()
    await parameters.reduce((sum, x) => sum.add(x.mul(3).sum()), ones([])).backward()
    const norms = await gradNorms(own)
    const each = 3 * Math.SQRT2
    for (const norm of Object.values(norms)) expect(norm).toBeCloseTo(each, 5)
    expect(Object.keys(norms)).toEqual(['scale', 'blocks.0', 'blocks.1', 'head'])
  })
})
