import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  crossEntropy,
  noGrad,
  SGD,
  type Tensor,
  tensor,
  trainStep,
} from 'x-transformers'
import { type EvaluationEvent, type TrainEvent, Trainer } from 'x-transformers/train'
import { expectClose, ids, numbers, smallModel, smallNet } from './helpers.js'
import { weights } from './runs.js'
import { xTransformer } from './zoo.js'

// what PyTorch 2.15 has for cross_entropy(x, [3, -100, 1], label_smoothing=s), in f64
const LOGITS = [
  [1, -2, 0.5, 3],
  [0.25, 0.75, -1.5, 0],
  [2, 2, -1, 0.5],
]
const RECORDED = [
  {
    label_smoothing: 0.1,
    loss: 0.686658788401846,
    first: [0.042776875, -0.009747926, 0.02102712, -0.054056068],
    last: [0.207481614, -0.242518386, -0.00154776, 0.036584533],
  },
  {
    label_smoothing: 0.7,
    loss: 1.736658788401846,
    first: [-0.032223125, -0.084747926, -0.05397288, 0.170943932],
    last: [0.132481614, -0.017518386, -0.07654776, -0.038415467],
  },
  {
    label_smoothing: 1,
    loss: 2.261658788401846,
    first: [-0.069723125, -0.122247926, -0.09147288, 0.283443932],
    last: [0.094981614, 0.094981614, -0.11404776, -0.075915467],
  },
]

describe('label smoothing', () => {
  it.each(RECORDED)(
    'of $label_smoothing is that of PyTorch',
    async ({ loss, first, last, ...of }) => {
      const x = tensor(LOGITS, { dtype: 'f64', requires_grad: true })
      const got = crossEntropy(x, [3, -100, 1], of)
      expect(got.item()).toBeCloseTo(loss, 12)
      await got.backward()
      // the row that does not count has no gradient
      expectClose(numbers(x.grad as Tensor), [...first, 0, 0, 0, 0, ...last], 1e-8)
    },
  )

  it('is refused where it is no share', () => {
    const x = tensor(LOGITS)
    for (const label_smoothing of [-0.1, 1.1, Number.NaN, 'a'])
      expect(() => crossEntropy(x, [0, 1, 2], { label_smoothing } as never)).toThrow(
        /label_smoothing/,
      )
  })

  it('of the loss of an AutoregressiveWrapper is that of the logits', async () => {
    const model = smallModel()
    const x = ids(2, 9)
    const loss = await model.forward(x, { label_smoothing: 0.2 })
    await loss.backward()
    const got = model.parameters().flatMap(({ grad }) => (grad ? numbers(grad) : []))
    for (const parameter of model.parameters()) parameter.grad = null
    const logits = await model.net.forward(x.slice(1, 0, 8))
    const want = logits.crossEntropy(x.slice(1, 1, 9), { label_smoothing: 0.2 })
    await want.backward()
    expectClose([loss.item() as number], [want.item() as number], 1e-5)
    const gradients = model.parameters().flatMap(({ grad }) => (grad ? numbers(grad) : []))
    expectClose(got, gradients, 1e-4)
    expect((await model.forward(x)).item()).not.toBe(loss.item())
    await expect(model.forward(x, { label_smoothing: 2 })).rejects.toThrow(/label_smoothing/)
  })

  it('of the loss of an XTransformer takes part in it', async () => {
    const model = xTransformer().eval()
    const loss = async (label_smoothing: number) =>
      (await noGrad(() => model.forward(ids(1, 5), ids(1, 6), { label_smoothing }))).item()
    expect(await loss(0)).not.toBe(await loss(0.5))
  })

  it('of an objective is for steps, and not for evaluations', async () => {
    const [net, twin] = [smallNet(), smallNet()]
    twin.loadStateDict(net.stateDict())
    const target = ids(2, 8)
    const objective = { kind: 'cross_entropy', label_smoothing: 0.3 } as const
    const events: TrainEvent[] = []
    for await (const event of new Trainer(net, {
      ...{ data: () => ({ args: [ids(2, 8)], target }), steps: 1, objective },
      optimizer: new SGD(net.parameters(), { lr: 0.1 }),
      eval: { data: [{ args: [ids(2, 8)], target }], every: 1 },
    }))
      events.push(event)
    const step = await trainStep(twin, new SGD(twin.parameters(), { lr: 0.1 }), [[ids(2, 8)]], {
      objective: { cross_entropy: [target], label_smoothing: 0.3 },
    })
    expect(events[0]).toMatchObject({ type: 'step', loss: step.loss })
    expect(weights(net)).toEqual(weights(twin))
    const logits = await noGrad(() => twin.eval().forward(ids(2, 8)))
    expect((events[1] as EvaluationEvent).loss).toBe(logits.crossEntropy(target).item())
  })

  it('of a batch is told with its arguments', async () => {
    const [model, twin] = [smallModel(), smallModel()]
    twin.loadStateDict(model.stateDict())
    const batch = [ids(2, 9), { label_smoothing: 0.1 }] as const
    const [optimizer, own] = [model, twin].map((of) => new SGD(of.parameters(), { lr: 0.1 }))
    await trainStep(model, optimizer as SGD, [[...batch]])
    const loss = await twin.forward(...batch)
    await loss.backward()
    await (own as SGD).step()
    expect(weights(model)).toEqual(weights(twin))
    expect(new AutoregressiveWrapper(smallNet()).options).not.toHaveProperty('label_smoothing')
  })
})
