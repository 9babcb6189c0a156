import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  cosineWarmup,
  Encoder,
  type Module,
  randn,
  type Tensor,
  tensor,
  trainStep,
} from 'x-transformers'
import { type DoneEvent, Trainer, type TrainerOptions } from 'x-transformers/train'
import { newFolder } from './folder.js'
import { bytesInUse, collect, ids, smallModel, smallNet } from './helpers.js'
import { adam, epoch, errorOf, eventsOf, lossesOf, sgd, stepsOf, twins, weights } from './runs.js'

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
