import { describe, expect, it } from 'vitest'
import { Adam, AdamW, Lion, ones, SGD, type Tensor, tensor } from 'x-transformers'
import { decayGroups } from 'x-transformers/train'
import { expectClose, ids, numbers, smallModel } from './helpers.js'
import { GRADIENTS, parameter, run, START } from './optimizer-steps.js'

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
