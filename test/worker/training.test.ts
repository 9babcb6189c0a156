import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import { type HostTensor, tensor } from 'x-transformers/worker'
import { ids as mainTokens } from '../api/helpers.js'
import { weights as mainWeights } from '../api/runs.js'
import {
  ids,
  LAYERS,
  library,
  mainModel,
  mainNet,
  numbers,
  smallModel,
  smallNet,
  weights,
} from './helpers.js'

type Batch = [HostTensor]

describe('trainStep', () => {
  it('equals five calls of the main library', async () => {
    main.manualSeed(5)
    const own = mainModel({ ff_dropout: 0.1 })
    const ownOptimizer = new main.AdamW(own.parameters(), { lr: 0.01 })
    const want: number[][] = []
    for (let step = 0; step < 5; step++) {
      const loss = await own.forward(mainTokens(2, 9 + step))
      await loss.backward()
      const norm = await main.clipGradNorm(own.parameters(), 0.5)
      await ownOptimizer.step()
      ownOptimizer.zeroGrad()
      want.push([loss.item() as number, norm])
    }

    const x = await library()
    x.manualSeed(5)
    const model = smallModel(x, { ff_dropout: 0.1 })
    const optimizer = new x.AdamW(model, { lr: 0.01 })
    const got: number[][] = []
    for (let step = 0; step < 5; step++) {
      const result = await x.trainStep({
        model,
        optimizer,
        batches: [[ids(2, 9 + step)]],
        max_grad_norm: 0.5,
      })
      got.push([result.loss, result.grad_norm as number])
    }
    expect(got).toEqual(want)
    expect(await weights(model)).toEqual(mainWeights(own))
  })

  it.each([
    { weights: undefined, shares: [1 / 3, 1 / 3, 1 / 3] },
    { weights: [4, 1, 3], shares: [0.5, 0.125, 0.375] },
  ])('averages over batches by weights $weights', async ({ weights: given, shares }) => {
    main.manualSeed(6)
    const own = mainModel()
    const ownOptimizer = new main.SGD(own.parameters(), { lr: 0.5 })
    const batches = [9, 12, 5]
    let want = 0
    for (const [i, share] of shares.entries()) {
      const loss = await own.forward(mainTokens(2, batches[i] as number))
      want += share * (loss.item() as number)
      await loss.mul(share).backward()
    }
    await ownOptimizer.step()

    const x = await library()
    x.manualSeed(6)
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const result = await x.trainStep({
      model,
      optimizer,
      batches: batches.map((length): Batch => [ids(2, length)]),
      weights: given,
    })
    expect(result).toEqual({ loss: want, grad_norm: null })
    expect(await weights(model)).toEqual(mainWeights(own))
  })

  it('freezes parameters by their names', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const own = mainModel()
    for (const pattern of ['net.token_emb.*', /\.bias$/g])
      expect(await model.freeze(pattern)).toEqual(own.freeze(pattern))
    const frozen = [...own.namedParameters()].flatMap(([name, p]) => (p.requires_grad ? [] : name))
    const before = await model.stateDict()
    await x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })
    const after = await model.stateDict()
    for (const [name, values] of before) {
      const same = String(numbers(values)) === String(numbers(after.get(name) as HostTensor))
      expect(same || !frozen.includes(name), name).toBe(true)
    }
    expect(await model.unfreeze()).toEqual(frozen)
    await expect(model.freeze('nothing')).rejects.toThrow(/no parameter has a name like/)
    await expect(model.freeze(1 as never)).rejects.toThrow(/a pattern of names/)
  })

  it('steps with Adafactor and label smoothing as the main library does', async () => {
    main.manualSeed(5)
    const own = mainNet()
    const ownOptimizer = new main.Adafactor(own.parameters(), { lr: 0.1 })
    const target = mainTokens(2, 9)
    const x = await library()
    x.manualSeed(5)
    const model = smallNet(x)
    const optimizer = new x.Adafactor(model, { lr: 0.1 })
    for (let i = 0; i < 3; i++) {
      const want = await main.trainStep(own, ownOptimizer, [[mainTokens(2, 9)]], {
        objective: { cross_entropy: [target], label_smoothing: 0.1 },
      })
      const got = await x.trainStep({
        ...{ model, optimizer, batches: [[ids(2, 9)]] as never },
        objective: { cross_entropy: [ids(2, 9)], label_smoothing: 0.1 },
      })
      expect(got).toEqual(want)
    }
    expect(await weights(model)).toEqual(mainWeights(own))
  })

  it('limits elements of the gradients', async () => {
    main.manualSeed(5)
    const own = mainModel()
    const batches: [main.Tensor][] = [[mainTokens(2, 9)]]
    const clipping = { max_grad_norm: 0.05, max_grad_value: 0.01 }
    const ownOptimizer = new main.SGD(own.parameters(), { lr: 0.5 })
    const want = await main.trainStep(own, ownOptimizer, batches, clipping)

    const x = await library()
    x.manualSeed(5)
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const got = await x.trainStep({ model, optimizer, batches: [[ids(2, 9)]], ...clipping })
    expect(got).toEqual(want)
    expect(await weights(model)).toEqual(mainWeights(own))
  })

  it('accepts named arguments of forward', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0 })
    const mask = tensor(Array.from({ length: 2 }, () => Array.from({ length: 8 }, (_, i) => i < 5)))
    const { loss } = await x.trainStep({ model, optimizer, batches: [[ids(2, 9), { mask }]] })
    expect(loss).toBe((await model.forward(ids(2, 9), { mask })).item())
    expect(loss).not.toBe((await model.forward(ids(2, 9))).item())
  })

  it('computes a loss of logits or vectors by an objective', async () => {
    const x = await library()
    const vit = new x.ViTransformerWrapper({
      image_size: 8,
      patch_size: 4,
      num_classes: 3,
      attn_layers: new x.Encoder(LAYERS),
    })
    const optimizer = new x.Adam(vit, { lr: 0.01 })
    const images = tensor(
      Float32Array.from({ length: 4 * 192 }, (_, i) => Math.sin(i)),
      { shape: [4, 3, 8, 8] },
    )
    const labels = tensor([0, 1, 2, 1], { dtype: 'i64' })
    const losses: number[] = []
    for (let i = 0; i < 12; i++) {
      const step = { model: vit, optimizer, batches: [[images]] as Batch[] }
      losses.push((await x.trainStep({ ...step, objective: { cross_entropy: [labels] } })).loss)
    }
    expect(losses.at(-1)).toBeLessThan(losses[0] as number)
    const logits = main.tensor((await vit.forward(images)).data, { shape: [4, 3] })
    const want = main.crossEntropy(logits, main.tensor([0, 1, 2, 1], { dtype: 'i64' })).item()
    const ignoring = { cross_entropy: [tensor([0, 1, 2, -1], { dtype: 'i64' })], ignore_index: -1 }
    const next = await x.trainStep({
      model: vit,
      optimizer,
      batches: [[images]],
      objective: { cross_entropy: [labels] },
    })
    expect(next.loss).toBeCloseTo(want as number, 5)
    await x.trainStep({ model: vit, optimizer, batches: [[images]], objective: ignoring })

    const vectors = new x.ContinuousTransformerWrapper({
      dim_in: 3,
      dim_out: 2,
      max_seq_len: 8,
      attn_layers: new x.Encoder(LAYERS),
    })
    const sgd = new x.SGD(vectors, { lr: 0.01 })
    const input = tensor(new Float32Array(12).fill(0.5), { shape: [1, 4, 3] })
    const target = tensor(new Float32Array(8), { shape: [1, 4, 2] })
    const output = (await vectors.forward(input)).data as Float32Array
    const step = await x.trainStep({
      model: vectors,
      optimizer: sgd,
      batches: [[input]],
      objective: { mse: [target] },
    })
    expect(step.loss).toBeCloseTo(output.reduce((sum, y) => sum + y * y, 0) / 8, 5)
  })

  it('selects the loss among several outputs', async () => {
    const x = await library()
    const net = new x.TransformerWrapper({
      num_tokens: 11,
      max_seq_len: 8,
      attn_layers: new x.Encoder(LAYERS),
    })
    const model = new x.NonAutoregressiveWrapper(net, {
      mask_id: 10,
      steps: 3,
      self_token_critic: true,
    })
    const optimizer = new x.Adam(model, { lr: 0.01 })
    x.manualSeed(1)
    const { loss } = await x.trainStep({ model, optimizer, batches: [[ids(2, 8)]] })
    expect(loss).toBeGreaterThan(0)
  })
})
