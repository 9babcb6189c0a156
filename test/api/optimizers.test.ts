import { describe, expect, it } from 'vitest'
import {
  Adafactor,
  Adam,
  AdamW,
  clipGradNorm,
  clipGradNormSync,
  clipGradValue,
  clipGradValueSync,
  constant,
  cosineWarmup,
  inverseSqrt,
  Lion,
  linearDecay,
  linearWarmup,
  Muon,
  ones,
  randn,
  SGD,
  type Tensor,
  tensor,
  warmupStableDecay,
} from 'x-transformers'
import { decayGroups } from 'x-transformers/train'
import { expectClose, ids, numbers, smallModel } from './helpers.js'

const START = [1, -2, 0.5]
const GRADIENTS = [
  [0.1, -0.2, 0.3],
  [0.4, 0.1, -0.6],
  [-0.3, 0.2, 0.1],
]

/** A leaf with the same values. */
const copyOf = (x: Tensor) =>
  tensor(x.dataSync(), { shape: x.shape, dtype: x.dtype, requires_grad: true })

const parameter = () => tensor(Float64Array.from(START), { requires_grad: true })

/** Takes one step with each gradient. */
async function run(p: Tensor, optimizer: { step(): Promise<void> }): Promise<number[]> {
  for (const gradient of GRADIENTS) {
    p.grad = tensor(Float64Array.from(gradient))
    await optimizer.step()
  }
  return numbers(p)
}

/** A reference implementation, element by element. */
function referenceWeights(
  step: (w: number, g: number, t: number, memory: number[]) => number,
): number[] {
  return START.map((start, i) => {
    const memory: number[] = []
    return GRADIENTS.reduce(
      (w, gradient, t) => step(w, gradient[i] as number, t + 1, memory),
      start,
    )
  })
}

function adam(lr: number, decay: number, decoupled: boolean, [b1, b2] = [0.9, 0.999], eps = 1e-8) {
  return referenceWeights((w, g, t, memory) => {
    const grad = decoupled ? g : g + decay * w
    const from = decoupled ? w * (1 - lr * decay) : w
    memory[0] = b1 * (memory[0] ?? 0) + (1 - b1) * grad
    memory[1] = b2 * (memory[1] ?? 0) + (1 - b2) * grad * grad
    const size = Math.sqrt(memory[1] / (1 - b2 ** t)) + eps
    return from - (lr * (memory[0] / (1 - b1 ** t))) / size
  })
}

function frozen(parameter: Tensor): Tensor {
  parameter.requires_grad = false
  return parameter
}

describe('a step equals the reference', () => {
  it('of SGD', async () => {
    const p = parameter()
    expectClose(
      await run(p, new SGD([p], { lr: 0.1 })),
      referenceWeights((w, g) => w - 0.1 * g),
    )
  })

  it('of SGD with momentum, dampening and decay', async () => {
    const p = parameter()
    const options = { lr: 0.1, momentum: 0.9, dampening: 0.3, weight_decay: 0.05 }
    const want = referenceWeights((w, g, t, memory) => {
      const grad = g + 0.05 * w
      memory[0] = t === 1 ? grad : 0.9 * (memory[0] as number) + (1 - 0.3) * grad
      return w - 0.1 * memory[0]
    })
    expectClose(await run(p, new SGD([p], options)), want)
  })

  it('of SGD with Nesterov’s momentum', async () => {
    const p = parameter()
    const want = referenceWeights((w, g, t, memory) => {
      memory[0] = t === 1 ? g : 0.9 * (memory[0] as number) + g
      return w - 0.1 * (g + 0.9 * memory[0])
    })
    expectClose(await run(p, new SGD([p], { lr: 0.1, momentum: 0.9, nesterov: true })), want)
  })

  it('of Adam, without and with decay', async () => {
    const [p, q] = [parameter(), parameter()]
    expectClose(await run(p, new Adam([p])), adam(1e-3, 0, false))
    expectClose(await run(q, new Adam([q], { lr: 0.1, weight_decay: 0.2 })), adam(0.1, 0.2, false))
  })

  it('of AdamW, with PyTorch’s defaults and with others', async () => {
    const [p, q] = [parameter(), parameter()]
    expectClose(await run(p, new AdamW([p])), adam(1e-3, 0.01, true))
    const options = { lr: 0.1, weight_decay: 0.5, betas: [0.8, 0.9], eps: 1e-3 }
    expectClose(await run(q, new AdamW([q], options)), adam(0.1, 0.5, true, [0.8, 0.9], 1e-3))
  })

  it('of Lion, with the defaults of lion-pytorch and with others', async () => {
    const lion = (lr: number, decay: number, [b1, b2] = [0.9, 0.99]) =>
      referenceWeights((w, g, _, memory) => {
        const direction = b1 * (memory[0] ?? 0) + (1 - b1) * g
        memory[0] = b2 * (memory[0] ?? 0) + (1 - b2) * g
        return w * (1 - lr * decay) - lr * Math.sign(direction)
      })
    const [p, q] = [parameter(), parameter()]
    expectClose(await run(p, new Lion([p])), lion(1e-4, 0))
    const options = { lr: 0.1, weight_decay: 0.5, betas: [0.5, 0.8] }
    expectClose(await run(q, new Lion([q], options)), lion(0.1, 0.5, [0.5, 0.8]))
  })
})

describe('an optimizer', () => {
  it('has settings by group, and one learning rate for all', async () => {
    const [p, q] = [parameter(), parameter()]
    const optimizer = new SGD([{ params: [p], lr: 1 }, { params: [q] }], { lr: 0.5 })
    expect(optimizer.param_groups.map(({ lr }) => lr)).toEqual([1, 0.5])
    p.grad = q.grad = tensor(new Float64Array([1, 1, 1]))
    await optimizer.step()
    expectClose(
      numbers(p),
      START.map((w) => w - 1),
    )
    expectClose(
      numbers(q),
      START.map((w) => w - 0.5),
    )
    optimizer.lr = 0
    expect(optimizer.param_groups.map(({ lr }) => lr)).toEqual([0, 0])
    expect(optimizer.lr).toBe(0)
  })

  it('skips parameters without a gradient, and clears existing gradients', async () => {
    const [p, q] = [parameter(), parameter()]
    const optimizer = new AdamW([p, q], { weight_decay: 0.5 })
    p.grad = ones([3], { dtype: 'f64' })
    await optimizer.step()
    expect(numbers(q)).toEqual(START)
    optimizer.zeroGrad()
    expect(p.grad).toBeNull()
  })

  it('uses the settings of when step was called', async () => {
    const p = parameter()
    const optimizer = new SGD([p], { lr: 1 })
    p.grad = ones([3], { dtype: 'f64' })
    const pending = optimizer.step()
    optimizer.lr = 100
    await pending
    expectClose(
      numbers(p),
      START.map((w) => w - 1),
    )
  })

  it('of the kind Lion goes on from its state, also in the form of PyTorch', async () => {
    const [straight, resumed] = [parameter(), parameter()]
    const options = { lr: 0.1, weight_decay: 0.2 }
    const want = await run(straight, new Lion([straight], options))
    const first = new Lion([resumed], options)
    resumed.grad = tensor(Float64Array.from(GRADIENTS[0] as number[]))
    await first.step()
    expect([...first.stateDict().state.keys()].sort()).toEqual(['0.exp_avg', '0.step'])
    const second = new Lion([resumed], { lr: 9 })
    await second.load(await first.saveBytes({ format: 'torch' }))
    expect(second.param_groups[0]).toMatchObject({ ...options, betas: [0.9, 0.99] })
    for (const gradient of GRADIENTS.slice(1)) {
      resumed.grad = tensor(Float64Array.from(gradient))
      await second.step()
    }
    expect(numbers(resumed)).toEqual(want)
    const bytes = await first.saveBytes()
    await expect(new AdamW([resumed]).load(bytes)).rejects.toThrow(/that of Lion, not the state/)
    await expect(new Lion([resumed]).load(await new AdamW([resumed]).saveBytes())).rejects.toThrow(
      /that of AdamW, not the state of Lion/,
    )
  })

  it('of the kind Muon steps matrices, and all else with AdamW', async () => {
    const [model, twin] = [smallModel(), smallModel()]
    twin.loadStateDict(model.stateDict())
    const [matrices, others] = model.muonParameters()
    const optimizer = new Muon([
      { ...matrices, lr: 0.02, weight_decay: 0 },
      { ...others, lr: 0.01, eps: 1e-8, weight_decay: 0.01 },
    ])
    const adamw = new AdamW(twin.parameters(), { lr: 0.01 })
    for (const of of [model, twin]) await (await of.forward(ids(2, 9))).backward()
    await optimizer.step()
    await adamw.step()
    const [got, want] = [model.namedParameters(), twin.namedParameters()]
    for (const [name, parameter] of got) {
      const same = String(numbers(parameter)) === String(numbers(want.get(name) as Tensor))
      expect(same, name).toBe(!matrices.params.includes(parameter))
    }
    // singular values of an update are about 1, so its norm is about the root of the rank
    expect(optimizer.toString()).toContain('"use_muon":false')
  })

  it('of the kind Adafactor has little state, and goes on from it, also in the form of PyTorch', async () => {
    const make = () => [randn([4, 3], { requires_grad: true }), parameter()] as [Tensor, Tensor]
    const [straight, resumed] = [make(), make()]
    for (const [i, p] of straight.entries()) resumed[i as 0 | 1] = copyOf(p)
    const step = async (parameters: readonly Tensor[], optimizer: Adafactor, i: number) => {
      for (const p of parameters) p.grad = p.mul(0.1).add(i).detach()
      await optimizer.step()
    }
    const whole = new Adafactor(straight, { lr: 0.1, weight_decay: 0.2 })
    for (let i = 0; i < 4; i++) await step(straight, whole, i)
    const first = new Adafactor(resumed, { lr: 0.1, weight_decay: 0.2 })
    for (let i = 0; i < 2; i++) await step(resumed, first, i)
    const names = ['0.step', '0.row_var', '0.col_var', '1.step', '1.variance']
    expect([...first.stateDict().state.keys()].sort()).toEqual(names.sort())
    expect(first.stateDict().state.get('0.row_var')?.shape).toEqual([4, 1])
    const second = new Adafactor(resumed, { lr: 9, eps: [1, 1] })
    await second.load(await first.saveBytes({ format: 'torch' }))
    expect(second.param_groups[0]).toMatchObject({ lr: 0.1, eps: [null, 1e-3], d: 1 })
    for (let i = 2; i < 4; i++) await step(resumed, second, i)
    expect(resumed.map(numbers)).toEqual(straight.map(numbers))
    await expect(new AdamW(resumed).load(await first.saveBytes())).rejects.toThrow(
      /that of Adafactor, not the state of AdamW/,
    )
    for (const options of [{ eps: [1e-3] }, { eps: [null, null] }, { d: 0 }, { beta2_decay: 1 }])
      expect(() => new Adafactor(resumed, options as never)).toThrow(/eps|d: must|beta2_decay/)
  })

  it('of the kind Muon goes on from its state', async () => {
    const [model, twin] = [smallModel(), smallModel()]
    twin.loadStateDict(model.stateDict())
    const make = (of: typeof model) => new Muon(decayGroups(of.muonParameters(), 0.3), { lr: 0.02 })
    const step = async (of: typeof model, optimizer: Muon) => {
      await (await of.forward(ids(2, 9))).backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
    const [own, first] = [make(model), make(twin)]
    for (let i = 0; i < 4; i++) await step(model, own)
    for (let i = 0; i < 2; i++) await step(twin, first)
    const second = new Muon(decayGroups(twin.muonParameters(), 0), { lr: 9 })
    await second.load(await first.saveBytes())
    const settings = ({ params: _, ...group }: { params: unknown }) => group
    expect(second.param_groups.map(settings)).toEqual(own.param_groups.map(settings))
    for (let i = 0; i < 2; i++) await step(twin, second)
    expect([...twin.stateDict().values()].map(numbers)).toEqual(
      [...model.stateDict().values()].map(numbers),
    )
    const bytes = await first.saveBytes()
    await expect(new AdamW(model.parameters()).load(bytes)).rejects.toThrow(/that of Muon/)
    const state = first.stateDict()
    const param_groups = state.param_groups.map((group) => ({ ...group, use_muon: false }))
    const before = [...second.stateDict().state.keys()]
    expect(() => second.loadStateDict({ ...state, param_groups })).toThrow(
      /`0\.momentum_buffer` is no state of parameter 0, which AdamW steps: give .* `use_muon`/,
    )
    expect([...second.stateDict().state.keys()]).toEqual(before)
  })

  it('of the kind Muon refuses what is no matrix, and says what to do', async () => {
    const model = smallModel()
    expect(() => new Muon(model.parameters())).toThrow(/model\.muonParameters\(\)/)
    expect(() => new Muon([parameter()])).toThrow(/shape \[3\]/)
    const optimizer = new Muon([{ params: [parameter()], use_muon: false }])
    Object.assign(optimizer.param_groups[0] as object, { use_muon: true })
    await expect(optimizer.step()).rejects.toThrow(/model\.muonParameters\(\)/)
    const wrong = { ns_coefficients: [1], ns_steps: 100, adjust_lr_fn: 'none', momentum: 1 }
    expect(() => new Muon(model.muonParameters(), wrong as never)).toThrow(/adjust_lr_fn/)
  })

  it('continues exactly from a saved state', async () => {
    const make = () => {
      const p = parameter()
      return { p, optimizer: new AdamW([{ params: [p], weight_decay: 0.3 }], { lr: 0.1 }) }
    }
    const straight = make()
    const [first, ...rest] = GRADIENTS.map((g) => tensor(Float64Array.from(g)))
    const interrupted = make()
    for (const { p, optimizer } of [straight, interrupted]) {
      p.grad = first as Tensor
      await optimizer.step()
    }
    const bytes = await interrupted.optimizer.saveBytes()
    const state = interrupted.optimizer.stateDict()
    const resumed = [bytes, state].map((saved) => {
      const p = tensor(Float64Array.from(numbers(interrupted.p)), { requires_grad: true })
      const optimizer = new AdamW([{ params: [p] }], { lr: 99 })
      if (saved instanceof Uint8Array) optimizer.loadSync(saved)
      else optimizer.loadStateDict(saved)
      expect(optimizer.lr).toBe(0.1)
      return { p, optimizer }
    })
    for (const { p, optimizer } of [straight, ...resumed]) {
      for (const gradient of rest) {
        p.grad = gradient
        await optimizer.step()
      }
    }
    for (const { p } of resumed) expect(numbers(p)).toEqual(numbers(straight.p))
    expect([...state.state.keys()].sort()).toEqual(['0.exp_avg', '0.exp_avg_sq', '0.step'])
    expect(state.param_groups).toMatchObject([{ lr: 0.1, weight_decay: 0.3, params: [0] }])
  })

  it('rejects the state of another class or of other groups', async () => {
    const [p, q] = [parameter(), parameter()]
    const adam = new AdamW([p])
    await expect(new SGD([q]).load(await adam.saveBytes())).rejects.toThrow(
      /AdamW, not the state of SGD/,
    )
    expect(() => new AdamW([p, q]).loadStateDict(adam.stateDict())).toThrow(/other groups/)
  })

  it('reports every problem of its options', () => {
    const p = parameter()
    const make = () =>
      new AdamW([{ params: [p], weigth_decay: 1 } as never], {
        lr: -1,
        beta: [0.9, 0.9],
        betas: [0.9, 1],
      } as never)
    expect(make).toThrowError(
      expect.objectContaining({
        code: 'invalid_options',
        problems: [
          expect.objectContaining({ path: 'beta', did_you_mean: 'betas' }),
          expect.objectContaining({ path: 'lr', allowed: 'a number from 0' }),
          expect.objectContaining({ path: 'betas' }),
          expect.objectContaining({
            path: 'param_groups[0].weigth_decay',
            did_you_mean: 'weight_decay',
          }),
        ],
      }),
    )
    expect(() => new SGD([p], { nesterov: true })).toThrow(/needs `momentum`/)
    expect(() => new SGD([p], { lr: 0.1, momentum: 0.9, nesterov: true })).not.toThrow()
    expect(() => new SGD([])).toThrow(/needs parameters/)
    expect(() => new SGD([p, p])).toThrow(/given twice/)
    expect(() => new SGD([ones([1])])).toThrow(/requires a gradient/)
    const optimizer = new SGD([p])
    expect(() => {
      optimizer.lr = Number.NaN
    }).toThrow(/from 0/)
  })

  it('names the group of an invalid setting, and reports those for all groups', async () => {
    const [p, q] = [parameter(), parameter()]
    const groups = [{ params: [p] }, { params: [q], momentum: 0 }]
    expect(() => new SGD(groups, { momentum: 0.9, nesterov: true })).toThrowError(
      expect.objectContaining({
        problems: [expect.objectContaining({ path: 'param_groups[1].nesterov' })],
      }),
    )
    const optimizer = new SGD(groups, { lr: 0.1 })
    const [, second] = optimizer.param_groups
    if (second) second.lr = Number.NaN
    await expect(optimizer.step()).rejects.toThrow(
      /param_groups\[1\]\.lr: got NaN; allowed: a number from 0/,
    )
    expect(() => {
      optimizer.lr = undefined as never
    }).toThrow(/from 0/)
  })

  it('runs later steps after its state is loaded', async () => {
    const [p, q] = [parameter(), parameter()]
    const saved = new SGD([p], { lr: 1 })
    const optimizer = new SGD([q], { lr: 100 })
    q.grad = ones([3], { dtype: 'f64' })
    const loading = optimizer.load(await saved.saveBytes())
    expect(() => optimizer.stepSync()).toThrowError(expect.objectContaining({ code: 'busy' }))
    await loading
    optimizer.stepSync()
    expectClose(
      numbers(q),
      START.map((w) => w - 1),
    )
  })

  it('skips a frozen parameter until it is unfrozen', async () => {
    const [p, q] = [parameter(), parameter()]
    const optimizer = new AdamW([p, q], { weight_decay: 0.5 })
    p.grad = q.grad = ones([3], { dtype: 'f64' })
    p.requires_grad = false
    await optimizer.step()
    expect(numbers(p)).toEqual(START)
    expect(numbers(q)).not.toEqual(START)
    p.requires_grad = true
    await optimizer.step()
    expect(numbers(p)).not.toEqual(START)
    expect(() => new AdamW(smallModel().parameters().map(frozen))).not.toThrow()
  })

  it('lowers the loss of a model', async () => {
    const model = smallModel()
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
    const x = ids(4, 9)
    const first = (await model.forward(x)).item() as number
    for (let step = 0; step < 30; step++) {
      const loss = await model.forward(x)
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
    expect((await model.forward(x)).item()).toBeLessThan(first / 2)
  })
})

describe('backward after a step', () => {
  it('through the old weights is an error', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters(), { lr: 0.1 })
    const loss = await model.forward(ids(2, 9))
    await loss.backward({ retain_graph: true })
    await optimizer.step()
    await expect(loss.backward()).rejects.toThrow(/changed/)
  })
})

describe('clipGradNorm', () => {
  const pair = () => {
    const [p, q, none] = [parameter(), parameter(), parameter()]
    p.grad = tensor(new Float64Array([3, 0, 0]))
    q.grad = tensor(new Float64Array([0, 4, 0]))
    return [p, q, none] as const
  }

  it('returns the norm before, and scales gradients above the maximum', async () => {
    const [p, q, none] = pair()
    expect(await clipGradNorm([p, q, none], 1)).toBeCloseTo(5, 6)
    expectClose(numbers(p.grad as Tensor), [0.6, 0, 0])
    expectClose(numbers(q.grad as Tensor), [0, 0.8, 0])
    expect(none.grad).toBeNull()
  })

  it('does not change smaller gradients', async () => {
    const [p, q] = pair()
    expect(clipGradNormSync([p, q], 10)).toBeCloseTo(5, 6)
    expect(await clipGradNorm([p, q], Number.POSITIVE_INFINITY)).toBeCloseTo(5, 6)
    expectClose(numbers(p.grad as Tensor), [3, 0, 0])
  })

  it('requires a valid norm', async () => {
    await expect(clipGradNorm([parameter()], Number.NaN)).rejects.toThrow(/largest norm/)
    await expect(clipGradNorm([{} as Tensor], 1)).rejects.toThrow(/parameter 0/)
  })
})

describe('clipGradValue', () => {
  it('limits each element, and what was scaled before', async () => {
    const [p, q] = [parameter(), parameter()]
    p.grad = tensor(new Float64Array([3, -0.5, -4]))
    await clipGradValue([p, q], 1)
    expect(numbers(p.grad as Tensor)).toEqual([1, -0.5, -1])
    expect(q.grad).toBeNull()
    p.grad = tensor(new Float64Array([3, Number.NaN, -4]))
    clipGradValueSync(new Set([p]), 0.25)
    expect(numbers(p.grad as Tensor)).toEqual([0.25, Number.NaN, -0.25])
    p.grad = tensor(new Float64Array([3, 0, -4]))
    await clipGradNorm([p], 2.5)
    await clipGradValue([p], 1.75)
    expectClose(numbers(p.grad as Tensor), [1.5, 0, -1.75])
  })

  it('requires a valid limit', async () => {
    await expect(clipGradValue([parameter()], -1)).rejects.toThrow(/largest value/)
    expect(() => clipGradValueSync([parameter()], 'a' as never)).toThrow(/largest value/)
  })
})

describe('a schedule', () => {
  it('is constant', () => expect(constant({ lr: 0.1 })(1000)).toBe(0.1))

  it('warms up linearly', () => {
    const rate = linearWarmup({ lr: 1, warmup_steps: 4 })
    expect([0, 1, 2, 3, 4, 100].map(rate)).toEqual([0.25, 0.5, 0.75, 1, 1, 1])
  })

  it('decays along a cosine', () => {
    const rate = cosineWarmup({ lr: 1, warmup_steps: 2, total_steps: 10, min_lr: 0.1 })
    expect([0, 1, 2].map(rate)).toEqual([0.5, 1, 1])
    expect(rate(6)).toBeCloseTo(0.55, 12)
    expect(rate(4)).toBeCloseTo(0.1 + (0.9 * (1 + Math.cos(Math.PI / 4))) / 2, 12)
    expect(rate(10)).toBeCloseTo(0.1, 12)
    expect(rate(99)).toBeCloseTo(0.1, 12)
    expect(cosineWarmup({ lr: 1, warmup_steps: 0, total_steps: 0, min_lr: 0.2 })(0)).toBe(0.2)
    expect(cosineWarmup({ lr: 1, warmup_steps: 4, total_steps: 4 })(4)).toBe(0)
  })

  it('decays evenly', () => {
    const rate = linearDecay({ lr: 1, warmup_steps: 2, total_steps: 10, min_lr: 0.2 })
    expect([0, 1, 2].map(rate)).toEqual([0.5, 1, 1])
    expect([4, 6, 9].map(rate)).toEqual([0.8, 0.6, 0.3].map((x) => expect.closeTo(x, 12)))
    expect([10, 99].map(rate)).toEqual([0.2, 0.2])
    expect(linearDecay({ lr: 1, warmup_steps: 0, total_steps: 4 })(1)).toBe(0.75)
  })

  it('decays with the inverse square root of the step', () => {
    const rate = inverseSqrt({ lr: 1, warmup_steps: 4 })
    expect([0, 3, 4, 16, 100].map(rate)).toEqual([0.25, 1, 1, 0.5, 0.2])
    expect([0, 1, 4].map(inverseSqrt({ lr: 1, warmup_steps: 0 }))).toEqual([1, 1, 0.5])
  })

  it('falls over decay_steps by decay, and stays constant before', () => {
    const options = { lr: 1, warmup_steps: 2, decay_steps: 4, total_steps: 10, min_lr: 0.2 }
    const rates = (decay?: 'linear' | 'cosine' | 'sqrt') =>
      [0, 1, 2, 6, 7, 8, 10, 11].map(warmupStableDecay({ ...options, decay }))
    const want = (...between: number[]) =>
      [0.5, 1, 1, 1, ...between, 0.2, 0.2].map((x) => expect.closeTo(x, 12))
    expect(rates()).toEqual(want(0.8, 0.6))
    expect(rates('cosine')).toEqual(want(0.2 + 0.4 * (1 + Math.cos(Math.PI / 4)), 0.6))
    expect(rates('sqrt')).toEqual(want(0.2 + 0.8 * 0.5, 0.2 + 0.8 * (1 - Math.sqrt(0.5))))
    // a decay that is longer than what is left begins after the warm-up
    const long = warmupStableDecay({ ...options, decay_steps: 99 })
    expect([1, 2, 6].map(long)).toEqual([1, 1, expect.closeTo(0.6, 12)])
    expect(() => warmupStableDecay({ ...options, decay: 'exp' as never })).toThrow(/decay/)
    expect(() => warmupStableDecay({ ...options, min_lr: 2 })).toThrow(/min_lr: must not be more/)
  })

  it('stays within its range', () => {
    expect(linearWarmup({ lr: 1, warmup_steps: 2.5 })(2)).toBe(1)
    expect(linearWarmup({ lr: 1, warmup_steps: 10 })(9.5)).toBe(1)
    expect(cosineWarmup({ lr: 1, warmup_steps: 2, total_steps: 9 })(1.5)).toBe(1)
    const cutOff = cosineWarmup({ lr: 1, warmup_steps: 10, total_steps: 5 })
    expect([0, 4, 5, 9, 10, 11].map(cutOff)).toEqual([0.1, 0.5, 0, 0, 0, 0])
    expect(() => cosineWarmup({ lr: 1, warmup_steps: 1, total_steps: 5, min_lr: 2 })).toThrow(
      /min_lr: must not be more/,
    )
  })

  it('reports missing options', () => {
    expect(() => cosineWarmup({ lr: 1, warmup: 2, total_steps: 3 } as never)).toThrow(
      /warmup_steps[\s\S]*warmup_steps: is required/,
    )
  })
})
