import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  cosineWarmup,
  Encoder,
  full,
  load,
  type Module,
  manualSeed,
  noGrad,
  randint,
  randn,
  SGD,
  type Tensor,
  tensor,
  trainStep,
} from 'x-transformers'
import { DataLoader, TokenArray, windows } from 'x-transformers/data'
import {
  type DoneEvent,
  decayGroups,
  type EvaluationEvent,
  type StepEvent,
  type TrainEvent,
  Trainer,
  type TrainerOptions,
} from 'x-transformers/train'
import { saveTo } from '../../ts/io/sources.js'
import { RunFolder } from '../../ts/train/run-folder.js'
import { newFolder } from './folder.js'
import { bytesInUse, collect, ids, numbers, smallModel, smallNet, VOCABULARY } from './helpers.js'

const weights = (model: Module) => [...model.stateDict().values()].flatMap(numbers)

/** Two models with the same weights. */
function twins(layers: object = {}): [AutoregressiveWrapper, AutoregressiveWrapper] {
  const [a, b] = [smallModel(layers), smallModel(layers)]
  b.loadStateDict(a.stateDict())
  return [a, b]
}

const sgd = (model: Module, lr = 0.1) => new SGD(model.parameters(), { lr })
const adam = (model: Module) => new AdamW(model.parameters(), { lr: 3e-3 })

/** An epoch of batches of different lengths. */
const epoch = (): [Tensor][] => [6, 9, 7, 5].map((length) => [ids(2, length)])

async function eventsOf(trainer: Trainer): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  for await (const event of trainer) events.push(event)
  return events
}

const stepsOf = (events: TrainEvent[]) =>
  events.filter((event): event is StepEvent => event.type === 'step')
const lossesOf = (events: TrainEvent[]) => stepsOf(events).map(({ loss }) => loss)
const typesOf = (events: TrainEvent[]) => events.map(({ type }) => type).join(' ')

/** An error of a run, whichever step it comes from. */
async function errorOf(run: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await run.then(
    () => null,
    (e) => e,
  )
  expect(error).not.toBeNull()
  return error as { code: string; message: string }
}

describe('a Trainer', () => {
  it('gives what single steps give, with the rates of its schedule', async () => {
    const [model, twin] = twins()
    const [optimizer, own] = [adam(model), adam(twin)]
    const schedule = cosineWarmup({ lr: 1e-2, warmup_steps: 2, total_steps: 10 })
    const batches = epoch()
    const trainer = new Trainer(model, { data: batches, optimizer, schedule, steps: 6, clip: 0.5 })
    const events = await eventsOf(trainer)
    const want: object[] = []
    for (let step = 0; step < 6; step++) {
      const batch = batches[step % 4] as [Tensor]
      own.lr = schedule(step)
      const result = await trainStep(twin, own, [batch], { max_grad_norm: 0.5 })
      const tokens = 2 * ((batch[0].shape[1] as number) - 1)
      want.push({
        step: step + 1,
        epoch: Math.floor(step / 4),
        lr: schedule(step),
        tokens,
        ...result,
      })
    }
    const got = stepsOf(events).map(({ step, epoch, lr, tokens, loss, grad_norm }) => ({
      ...{ step, epoch, lr, tokens, loss, grad_norm },
    }))
    expect(got).toEqual(want)
    expect(weights(model)).toEqual(weights(twin))
    const done = events.at(-1) as DoneEvent
    expect(done).toMatchObject({ type: 'done', reason: 'finished', steps: 6, checkpoint: null })
    expect(done.loss).toBeCloseTo(lossesOf(events).reduce((a, b) => a + b) / 6, 10)
    expect(trainer.step).toBe(6)
  })

  it('limits elements of the gradients, and their norm', async () => {
    for (const clip of [{ value: 0.01 }, { value: 0.01, norm: 0.05 }, { norm: 0.05 }]) {
      const [model, twin] = twins()
      const batches = epoch()
      const events = await eventsOf(
        new Trainer(model, { data: batches, optimizer: sgd(model), steps: 2, clip }),
      )
      const own = sgd(twin)
      const settings = { max_grad_norm: clip.norm ?? Infinity, max_grad_value: clip.value }
      for (const [i, { grad_norm }] of stepsOf(events).entries()) {
        const result = await trainStep(twin, own, [batches[i] as [Tensor]], settings)
        expect(grad_norm).toBe(result.grad_norm)
      }
      expect(weights(model)).toEqual(weights(twin))
    }
    const options = (clip: object) => ({
      data: epoch(),
      optimizer: sgd(smallModel()),
      steps: 1,
      clip,
    })
    for (const clip of [{ value: -1 }, { value: 0 }, { value: NaN }, { norm: 0 }, { values: 1 }])
      expect(() => new Trainer(smallModel(), options(clip))).toThrow(/clip/)
  })

  it('averages the batches of a step by their tokens', async () => {
    const padding = { ignore_index: 10 }
    const [model, twin] = twins().map(({ net }) => new AutoregressiveWrapper(net, padding)) as [
      AutoregressiveWrapper,
      AutoregressiveWrapper,
    ]
    const rows = (ids(3, 9).toArray() as number[][]).map((row) => row.map((id) => id % 10))
    // the second row has three targets less
    rows[1]?.fill(10, 6)
    const whole = tensor(rows, { dtype: 'i64' })
    const parts: [Tensor][] = [[whole.slice(0, 0, 1)], [whole.slice(0, 1, 3)]]
    const one = await trainStep(twin, sgd(twin), [[whole]], { max_grad_norm: Infinity })
    const options = { data: parts, optimizer: sgd(model), steps: 1, grad_accum: 2 }
    const [event] = stepsOf(await eventsOf(new Trainer(model, options)))
    expect(event?.tokens).toBe(21)
    expect(event?.loss).toBeCloseTo(one.loss, 5)
    expect(event?.grad_norm).toBeCloseTo(one.grad_norm as number, 5)
    const want = weights(twin)
    for (const [i, value] of weights(model).entries())
      expect(value).toBeCloseTo(want[i] as number, 5)
  })

  it('keeps the ratios of the rates of groups', async () => {
    const model = smallModel()
    const [first, ...others] = model.parameters() as [Tensor, ...Tensor[]]
    const optimizer = new AdamW([{ params: [first], lr: 0.02 }, { params: others }], { lr: 0.01 })
    const options = { data: epoch(), optimizer, steps: 1, schedule: () => 0.5 }
    await new Trainer(model, options).run()
    expect(optimizer.param_groups.map(({ lr }) => lr)).toEqual([0.5, 0.25])
  })

  it('takes an objective, and functions as data', async () => {
    const net = smallNet()
    const asked: number[] = []
    const data = (step: number) => {
      asked.push(step)
      return step < 3 ? { args: [ids(2, 8)], target: ids(2, 8) } : null
    }
    const objective = { kind: 'cross_entropy', ignore_index: 3 } as const
    const want = (await net.forward(ids(2, 8))).crossEntropy(ids(2, 8), { ignore_index: 3 }).item()
    const events = await eventsOf(
      new Trainer(net, { data, optimizer: sgd(net), steps: 9, objective }),
    )
    expect(lossesOf(events)[0]).toBe(want)
    expect(asked).toEqual([0, 1, 2, 3])
    expect(events.at(-1)).toMatchObject({ reason: 'data', steps: 3 })

    const encoder = new Encoder({ dim: 8, depth: 1, heads: 1 })
    const batch = { args: [randn([1, 4, 8])], target: randn([1, 4, 8]) }
    const run = new Trainer(encoder, {
      ...{ data: [batch], optimizer: sgd(encoder), epochs: 3, objective: 'mse' },
    })
    expect((await run.run()).steps).toBe(3)
  })

  it('ends after epochs, at the end of an iterator, and in time', async () => {
    const model = smallModel()
    const optimizer = sgd(model)
    const reasons = async (
      options: Pick<TrainerOptions, 'data' | 'epochs' | 'seconds' | 'steps'>,
    ) => {
      const { reason, steps } = await new Trainer(model, { optimizer, ...options }).run()
      return [reason, steps]
    }
    expect(await reasons({ data: epoch(), epochs: 2 })).toEqual(['finished', 8])
    expect(await reasons({ data: epoch().values(), epochs: 2 })).toEqual(['data', 4])
    expect(await reasons({ data: [], steps: 3 })).toEqual(['data', 0])
    const start = performance.now()
    const [reason, steps] = await reasons({ data: epoch(), seconds: 0.3 })
    expect(reason).toBe('finished')
    expect(steps).toBeGreaterThan(3)
    // a machine may stand still for a while
    expect(performance.now() - start).toBeLessThan(10_000)
  })

  it('waits for the caller, who may use the model between steps', async () => {
    const model = smallModel()
    let busy = false
    const done = await new Trainer(model, {
      ...{ data: epoch(), optimizer: sgd(model), steps: 5 },
    }).run(async (event) => {
      expect(busy).toBe(false)
      busy = true
      if (event.type === 'step') {
        const tokens = await model.generate(ids(1, 2), 2, { temperature: 0 })
        expect(tokens.shape).toEqual([1, 2])
      }
      busy = false
    })
    expect(done.steps).toBe(5)
  })

  it('runs once', async () => {
    const model = smallModel()
    const trainer = new Trainer(model, { data: epoch(), optimizer: sgd(model), steps: 1 })
    await trainer.run()
    expect((await errorOf(trainer.run())).code).toBe('invalid_state')
  })
})

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
    const [model, twin] = twins(layers)
    const draws = () => [randint(0, VOCABULARY, [2, 7])]
    for (const data of [epoch(), draws]) {
      manualSeed(1)
      twin.loadStateDict(model.stateDict())
      const whole = await eventsOf(new Trainer(twin, settings(twin, await newFolder(), { data })))

      manualSeed(1)
      const first = smallModel(layers)
      first.loadStateDict(model.stateDict())
      manualSeed(1)
      const folder = await newFolder()
      const controller = new AbortController()
      const stopped: TrainEvent[] = []
      const run = new Trainer(first, settings(first, folder, { data, signal: controller.signal }))
      for await (const event of run) {
        stopped.push(event)
        if (event.type === 'step' && event.step === 6) controller.abort()
      }
      expect(stopped.at(-1)).toMatchObject({ reason: 'aborted', steps: 6 })

      // another process would have drawn other numbers
      manualSeed(77)
      const second = smallModel(layers)
      const resumed = await eventsOf(
        new Trainer(second, settings(second, folder, { data, resume: true })),
      )
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

describe('a DataLoader', () => {
  const tokens = new TokenArray(Array.from({ length: 200 }, (_, i) => (i * i + 3 * i) % VOCABULARY))
  const loader = () =>
    new DataLoader(windows(tokens, { length: 8 }), {
      ...{ batch_size: 4, shuffle: true, seed: 3, prefetch: 2 },
    })

  it('goes on where it was, in the middle of an epoch and at its end', async () => {
    const validation = new DataLoader(windows(tokens, { length: 12 }), { batch_size: 5 })
    const run = async (folder: string, more: Partial<TrainerOptions>) => {
      const model = smallModel({ ff_dropout: 0.2 })
      const options = { data: loader(), optimizer: adam(model), checkpoint: { folder, every: 6 } }
      const evaluation = { data: validation, every: 5, batches: 2 }
      const events = await eventsOf(
        new Trainer(model, { ...options, eval: evaluation, steps: 20, ...more }),
      )
      return { model, events }
    }
    manualSeed(4)
    const whole = await run(await newFolder(), {})
    // 24 windows in batches of 4
    expect(loader().length).toBe(6)
    expect(stepsOf(whole.events).map(({ epoch }) => epoch)).toEqual([
      ...[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3],
    ])
    for (const stop of [6, 9]) {
      const folder = await newFolder()
      manualSeed(4)
      const first = await run(folder, { steps: stop })
      manualSeed(5)
      const second = await run(folder, { resume: true })
      const events = [...stepsOf(first.events), ...stepsOf(second.events)]
      const told = (all: StepEvent[]) => all.map(({ step, epoch, loss }) => ({ step, epoch, loss }))
      expect(told(events)).toEqual(told(stepsOf(whole.events)))
      expect(weights(second.model)).toEqual(weights(whole.model))
    }
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

describe('a loss that is not finite', () => {
  it('ends the run before the weights change, and names gradients and checkpoint', async () => {
    const model = smallModel()
    const folder = await newFolder()
    const trainer = new Trainer(model, {
      ...{ data: epoch(), optimizer: sgd(model), steps: 9, clip: 1 },
      checkpoint: { folder, every: 2 },
    })
    let before: number[] = []
    const run = trainer.run(({ type }) => {
      if (type !== 'step' || trainer.step !== 3) return
      const [name, parameter] = [...model.namedParameters()].at(-1) as [string, Tensor]
      const broken = parameter.detach().mul(Number.NaN)
      model.loadStateDict({ [name]: broken }, { strict: false })
      before = weights(model)
    })
    const { code, message } = await errorOf(run)
    expect(code).toBe('not_finite')
    expect(message).toMatch(/^the loss is NaN at step 3, and the weights are those before it/)
    expect(message).toMatch(/The largest gradients: net\.\S+ \(NaN\)/)
    expect(message).toContain(`The last checkpoint is ${folder}/step-2.`)
    expect(weights(model)).toEqual(before)
    expect(model.parameters().every(({ grad }) => grad === null)).toBe(true)
  })
})

describe('what a Trainer refuses', () => {
  const model = smallModel()
  const least = () => ({ data: epoch(), optimizer: sgd(model), steps: 1 })

  it.each<[string, object, RegExp]>([
    ['no end', { steps: undefined }, /give steps, epochs or seconds/],
    ['steps that are not whole', { steps: 1.5 }, /steps must be a whole number/],
    ['no steps', { steps: 0 }, /steps must be above 0/],
    ['a seed alone', { seed: 1 }, /seed needs batch_size/],
    ['a batch_size without a dataset', { batch_size: 2, data: 5 }, /dataset/],
    ['an unknown option', { step: 1 }, /step is not an option of Trainer; there are data/],
    ['another optimizer', { optimizer: {} }, /optimizer must be an optimizer of this package/],
    ['data that is none', { data: 5 }, /data must be a DataLoader, an iterable/],
    ['early_stop alone', { early_stop: { patience: 1 } }, /early_stop needs eval/],
    ['resume alone', { resume: true }, /resume needs checkpoint/],
    [
      'a used-up iterator',
      { eval: { data: epoch().values() } },
      /eval.data must be .* more than once/,
    ],
    [
      'a folder without a name',
      { checkpoint: { folder: '' } },
      /checkpoint.folder must be the path/,
    ],
    [
      'checkpoints after no steps',
      { checkpoint: { folder: 'x', every: 0 } },
      /checkpoint.every must be above 0/,
    ],
    ['an objective', { objective: 'ce' }, /objective must be 'cross_entropy', 'mse'/],
  ])('%s', (_, options, message) => {
    expect(() => new Trainer(model, { ...least(), ...options })).toThrow(message)
  })

  it('another model, and batches that are none', async () => {
    expect(() => new Trainer({} as Module, least())).toThrow(/the model must be a Module/)
    const wrong = { ...least(), data: [ids(2, 3)] as never }
    expect((await errorOf(new Trainer(model, wrong).run())).message).toMatch(
      /a batch must be the arguments of forward, \[tokens\], or \{ args, target, tokens \}/,
    )
  })
})

describe('decayGroups', () => {
  it('has no weight decay for norms and biases', () => {
    const model = smallModel({ attn_qk_norm: true })
    const groups = decayGroups(model, 0.1)
    expect(groups.map(({ weight_decay }) => weight_decay)).toEqual([0.1, 0])
    const names = new Map([...model.namedParameters()].map(([name, value]) => [value, name]))
    const [decayed, others] = groups.map(({ params }) => params.map((value) => names.get(value)))
    expect(decayed?.filter((name) => name?.endsWith('bias'))).toEqual([])
    expect(decayed).toContain('net.token_emb.emb.weight')
    expect(others).toContain('net.to_logits.bias')
    expect([...(decayed ?? []), ...(others ?? [])].length).toBe(names.size)
    new AdamW(groups, { lr: 1e-3 })
  })
})

describe('memory', () => {
  it('holds nothing of a run that has ended', async () => {
    const model = smallModel()
    const optimizer = adam(model)
    const data = epoch()
    const run = async () => {
      const options = { data, optimizer, steps: 8, grad_accum: 2, eval: { data, every: 4 } }
      await new Trainer(model, options).run()
    }
    await run()
    await collect()
    const before = bytesInUse()
    await run()
    // what handles take until they are collected; a graph has some 30 KB
    expect(bytesInUse() - before).toBeLessThan(64 * 1024)
    await collect()
    expect(bytesInUse() - before).toBeLessThan(1024)
  })
})
