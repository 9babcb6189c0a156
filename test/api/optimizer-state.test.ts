// What optimizers keep of their steps, and how they go on from it.
import { describe, expect, it } from 'vitest'
import { Adafactor, AdamW, Lion, Muon, ones, randn, SGD, type Tensor, tensor } from 'x-transformers'
import { decayGroups } from 'x-transformers/train'
import { expectClose, ids, numbers, smallModel } from './helpers.js'
import { GRADIENTS, parameter, run, START } from './optimizer-steps.js'

/** A leaf with the same values. */
const copyOf = (x: Tensor) =>
  tensor(x.dataSync(), { shape: x.shape, dtype: x.dtype, requires_grad: true })

describe('an optimizer', () => {
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
})
