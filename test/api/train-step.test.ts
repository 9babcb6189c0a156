import { describe, expect, it } from 'vitest'
import {
  AdamW,
  clipGradNorm,
  clipGradValue,
  Encoder,
  Module,
  manualSeed,
  NonAutoregressiveWrapper,
  randn,
  SGD,
  type Tensor,
  TransformerWrapper,
  tensor,
  trainStep,
  zeros,
} from 'x-transformers'
import { bytesInUse, collect, ids, numbers, smallModel, smallNet } from './helpers.js'

const weights = (model: Module) => [...model.stateDict().values()].map(numbers)

/** A model, and a second one with the same weights. */
function identicalModels<M extends Module>(make: () => M): [M, M] {
  const [a, b] = [make(), make()]
  b.loadStateDict(a.stateDict())
  return [a, b]
}

describe('trainStep', () => {
  it('equals forward, backward, clipping and step exactly', async () => {
    const [model, twin] = identicalModels(smallModel)
    const optimizer = new AdamW(model.parameters(), { lr: 0.01 })
    const own = new AdamW(twin.parameters(), { lr: 0.01 })
    for (let i = 0; i < 3; i++) {
      const batch = ids(2, 9 + i)
      const { loss, grad_norm } = await trainStep(model, optimizer, [[batch]], {
        max_grad_norm: 0.5,
      })
      const want = await twin.forward(batch)
      await want.backward()
      expect(grad_norm).toBe(await clipGradNorm(twin.parameters(), 0.5))
      expect(loss).toBe(want.item())
      await own.step()
      own.zeroGrad()
      expect(weights(model)).toEqual(weights(twin))
    }
    expect(model.parameters().map(({ grad }) => grad)).toEqual(model.parameters().map(() => null))
  })

  it('limits elements of the gradients, and then their norm', async () => {
    for (const max_grad_norm of [undefined, Infinity, 0.05]) {
      const [model, twin] = identicalModels(smallModel)
      const [optimizer, own] = [model, twin].map((m) => new SGD(m.parameters(), { lr: 0.5 })) as [
        SGD,
        SGD,
      ]
      const batch = ids(2, 9)
      const options = { max_grad_value: 0.01, max_grad_norm }
      const { grad_norm } = await trainStep(model, optimizer, [[batch]], options)
      await (await twin.forward(batch)).backward()
      const norm = await clipGradNorm(twin.parameters(), Infinity)
      expect(grad_norm).toBe(max_grad_norm === undefined ? null : norm)
      await clipGradValue(twin.parameters(), 0.01)
      if (max_grad_norm) await clipGradNorm(twin.parameters(), max_grad_norm)
      await own.step()
      expect(weights(model)).toEqual(weights(twin))
    }
    await expect(
      trainStep(smallModel(), new SGD(smallModel().parameters()), [[ids(1, 4)]], {
        max_grad_value: -1,
      }),
    ).rejects.toThrow(/max_grad_value must be a number from 0/)
  })

  it('averages the gradients of several batches', async () => {
    const [model, twin] = identicalModels(smallModel)
    const [optimizer, own] = [model, twin].map((m) => new SGD(m.parameters(), { lr: 0.5 })) as [
      SGD,
      SGD,
    ]
    const batches = [ids(2, 9), ids(2, 6), ids(1, 12)]
    // earlier gradients do not count
    await (await model.forward(batches[0] as Tensor)).backward()
    const { loss, grad_norm } = await trainStep(
      model,
      optimizer,
      batches.map((batch) => [batch]),
    )
    let total = 0
    for (const batch of batches) {
      const one = await twin.forward(batch)
      total += (1 / 3) * Number(one.item())
      await one.mul(1 / 3).backward()
    }
    await own.step()
    expect(loss).toBe(total)
    expect(grad_norm).toBeNull()
    expect(weights(model)).toEqual(weights(twin))
  })

  it('with weights equals the step of one batch with all rows', async () => {
    const [model, twin] = identicalModels(smallModel)
    const [optimizer, own] = [model, twin].map((m) => new SGD(m.parameters(), { lr: 0.5 })) as [
      SGD,
      SGD,
    ]
    const whole = ids(3, 9)
    const batches: [Tensor][] = [[whole.slice(0, 0, 1)], [whole.slice(0, 1, 3)]]
    const one = await trainStep(twin, own, [[whole]], { max_grad_norm: Infinity })
    const options = { max_grad_norm: Infinity, weights: [8, 16] }
    const several = await trainStep(model, optimizer, batches, options)
    expect(several.loss).toBeCloseTo(one.loss, 5)
    expect(several.grad_norm).toBeCloseTo(one.grad_norm as number, 5)
    const want = weights(twin).flat()
    for (const [i, value] of weights(model).flat().entries())
      expect(value).toBeCloseTo(want[i] as number, 5)
    const equal = await trainStep(model, optimizer, batches, { max_grad_norm: Infinity })
    expect(equal.loss).not.toBeCloseTo(several.loss, 3)
    for (const wrong of [[1], [1, -1], [0, 0], [1, Number.NaN], 'ab', [Infinity, 1]]) {
      const run = trainStep(model, optimizer, batches, { weights: wrong as number[] })
      await expect(run).rejects.toThrow('weights must be a number from 0 for each of the 2')
    }
  })

  it('runs steps in order even if they are not awaited, also after one that fails', async () => {
    const [model, twin] = identicalModels(smallModel)
    const [optimizer, own] = [model, twin].map((m) => new SGD(m.parameters(), { lr: 0.5 })) as [
      SGD,
      SGD,
    ]
    const batches = [ids(2, 9), ids(2, 6), ids(1, 12)]
    const broken = trainStep(model, optimizer, [[zeros([2, 2])]])
    const all = batches.map((batch) => trainStep(model, optimizer, [[batch]]))
    await expect(broken).rejects.toThrow('i64')
    const losses = (await Promise.all(all)).map(({ loss }) => loss)
    const want: number[] = []
    for (const batch of batches) want.push((await trainStep(twin, own, [[batch]])).loss)
    expect(losses).toEqual(want)
    expect(weights(model)).toEqual(weights(twin))
  })

  it('computes a loss of logits and targets, and of vectors', async () => {
    const net = smallNet()
    const [x, y] = [ids(2, 8), ids(2, 8)]
    const want = (await net.forward(x)).crossEntropy(y, { ignore_index: 3 }).item()
    const optimizer = new SGD(net.parameters(), { lr: 0.1 })
    const objective = { cross_entropy: [y], ignore_index: 3 }
    expect((await trainStep(net, optimizer, [[x]], { objective })).loss).toBe(want)
    expect((await net.forward(x)).crossEntropy(y, { ignore_index: 3 }).item()).toBeLessThan(
      want as number,
    )

    const encoder = new Encoder({ dim: 8, depth: 1, heads: 1 })
    const [input, target] = [randn([1, 4, 8]), zeros([1, 4, 8])]
    const error = (await encoder.forward(input)).mse(target).item()
    const sgd = new SGD(encoder.parameters(), { lr: 0.1 })
    expect((await trainStep(encoder, sgd, [[input]], { objective: { mse: [target] } })).loss).toBe(
      error,
    )
    // targets and inputs are not disposed
    expect([input, target, x, y].map(({ shape }) => shape.length)).toEqual([3, 3, 2, 2])
  })

  it('selects the loss among several outputs, and trains a custom model', async () => {
    const net = new TransformerWrapper({
      num_tokens: 11,
      max_seq_len: 8,
      attn_layers: new Encoder({ dim: 8, depth: 1, heads: 1 }),
    })
    const model = new NonAutoregressiveWrapper(net, {
      mask_id: 10,
      steps: 3,
      self_token_critic: true,
    })
    manualSeed(1)
    const { loss } = await trainStep(model, new SGD(model.parameters(), { lr: 0.01 }), [
      [ids(2, 8, 10)],
    ])
    expect(loss).toBeGreaterThan(0)

    class Line extends Module {
      slope = tensor([0], { requires_grad: true })

      forward(x: Tensor, y: Tensor) {
        const given = x.mul(this.slope)
        // arguments and parameters are not results
        return { loss: given.sub(y).pow(2).mean(), given, x, slope: this.slope }
      }
    }
    const line = new Line()
    const [x, y] = [tensor([1, 2]), tensor([2, 4])]
    const optimizer = new SGD(line.parameters(), { lr: 0.1 })
    expect((await trainStep(line, optimizer, [[x, y]])).loss).toBe(10)
    expect((await trainStep(line, optimizer, [[x, y]])).loss).toBeLessThan(10)
    expect(line.slope.item()).toBeGreaterThan(0)
    expect(x.toArray()).toEqual([1, 2])
  })

  it('is aborted as a whole, and leaves no gradient', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters(), { lr: 0.5 })
    const before = weights(model)
    const controller = new AbortController()
    const reason = new Error('enough')
    const batches = Array.from({ length: 200 }, (): [Tensor] => [ids(2, 9)])
    const pending = trainStep(model, optimizer, batches, { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 5)
    await expect(pending).rejects.toBe(reason)
    await expect(trainStep(model, optimizer, batches, { signal: controller.signal })).rejects.toBe(
      reason,
    )
    expect(weights(model)).toEqual(before)
    expect(model.parameters().every(({ grad }) => grad === null)).toBe(true)
  })

  it('reports invalid arguments', async () => {
    const net = smallNet()
    const optimizer = new SGD(net.parameters(), { lr: 0.1 })
    const step = (batches: unknown, options: object = {}) =>
      trainStep(net, optimizer, batches as never, options)
    const batches = [[ids(1, 4)]]
    await expect(step(batches)).rejects.toThrow(/shape \[1,4,11\] and no loss: give an objective/)
    await expect(step([])).rejects.toThrow(/batches must be/)
    await expect(step([ids(1, 4)])).rejects.toThrow(/batches must be/)
    await expect(step(batches, { objective: { mse: [] } })).rejects.toThrow(
      /for each of the 1 batches/,
    )
    await expect(step(batches, { objective: {} })).rejects.toThrow(/objective must be/)
    await expect(step(batches, { objective: 1 })).rejects.toThrow(
      /objective must be an object, got 1/,
    )
    await expect(step(batches, { max_grad_norm: -1 })).rejects.toThrow(/max_grad_norm must be/)
    await expect(step(batches, { maxnorm: 1 })).rejects.toThrow(
      /maxnorm is not an option of trainStep/,
    )
    await expect(step(batches, { signal: 5 })).rejects.toThrow(/signal must be an AbortSignal/)
    await expect(trainStep(optimizer as never, optimizer, [])).rejects.toThrow(
      /model must be a Module, got/,
    )
    await expect(trainStep(net, net as never, [])).rejects.toThrow(
      /optimizer must be one of this package, got/,
    )
    await expect(
      step(batches, { objective: { cross_entropy: [ids(1, 3)] } }),
    ).rejects.toMatchObject({
      code: 'invalid_tensor',
    })
  })

  it('leaves nothing in memory, also if it fails', async () => {
    const model = smallModel()
    const optimizer = new AdamW(model.parameters())
    const batches: [Tensor][] = [[ids(2, 9)], [ids(2, 9)]]
    const step = async () => {
      await trainStep(model, optimizer, batches, { max_grad_norm: 1 })
      await expect(trainStep(model.net, optimizer, batches)).rejects.toThrow(/no loss/)
      await collect()
      return bytesInUse()
    }
    const first = await step()
    for (let i = 0; i < 10; i++) await step()
    expect(await step()).toBeLessThan(first + 4096)
  })
})
