import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import { type HostTensor, type Library, type RemoteModel, tensor } from 'x-transformers/worker'
import { collect, numbers as mainNumbers, ids as mainTokens } from '../api/helpers.js'
import { all, ids, LAYERS, library, NET, numbers, smallModel, smallNet } from './helpers.js'

const mainNet = (layers: object = {}) =>
  new main.TransformerWrapper({ ...NET, attn_layers: new main.Decoder({ ...LAYERS, ...layers }) })

type Batch = [HostTensor]

const weights = async (model: RemoteModel) => [...(await model.stateDict()).values()].map(numbers)

describe('trainStep', () => {
  it('equals five calls of the main library', async () => {
    main.manualSeed(5)
    const own = new main.AutoregressiveWrapper(mainNet({ ff_dropout: 0.1 }))
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
    expect(await weights(model)).toEqual([...own.stateDict().values()].map(mainNumbers))
  })

  it.each([
    { weights: undefined, shares: [1 / 3, 1 / 3, 1 / 3] },
    { weights: [4, 1, 3], shares: [0.5, 0.125, 0.375] },
  ])('averages over batches by weights $weights', async ({ weights: given, shares }) => {
    main.manualSeed(6)
    const own = new main.AutoregressiveWrapper(mainNet())
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
    expect(await weights(model)).toEqual([...own.stateDict().values()].map(mainNumbers))
  })

  it('freezes parameters by their names', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const own = new main.AutoregressiveWrapper(mainNet())
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
    expect(await weights(model)).toEqual([...own.stateDict().values()].map(mainNumbers))
  })

  it('limits elements of the gradients', async () => {
    main.manualSeed(5)
    const own = new main.AutoregressiveWrapper(mainNet())
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
    expect(await weights(model)).toEqual([...own.stateDict().values()].map(mainNumbers))
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

  it('reports invalid arguments', async () => {
    const x = await library()
    const net = smallNet(x)
    const optimizer = new x.SGD(net)
    const step = { model: net, optimizer, batches: [[ids(1, 4)]] as Batch[] }
    const wrong = (more: object) => x.trainStep({ ...step, ...more } as never)
    await expect(x.trainStep(step)).rejects.toThrow(
      /shape \[1,4,11\] and no loss: give an objective/,
    )
    await expect(wrong({ batches: [] })).rejects.toThrow(/batches must be/)
    await expect(wrong({ batches: [ids(1, 4)] })).rejects.toThrow(/batches must be/)
    await expect(wrong({ objective: { mse: [] } })).rejects.toThrow(/for each of the 1 batches/)
    await expect(wrong({ objective: {} })).rejects.toThrow(/objective must be/)
    await expect(wrong({ max_grad_norm: -1 })).rejects.toThrow(/max_grad_norm/)
    await expect(wrong({ model: optimizer })).rejects.toThrow(
      /model must be a model of this worker/,
    )
    await expect(wrong({ optimizer: net })).rejects.toThrow(/optimizer must be one of this worker/)
    await expect(wrong({ maxnorm: 1 })).rejects.toThrow(/maxnorm is not an option/)
    await expect(wrong({ signal: 5 })).rejects.toThrow(/signal must be an AbortSignal/)
    await expect(wrong({ batches: [[ids(1, 4), { maks: ids(1, 4) }]] })).rejects.toMatchObject({
      code: 'invalid_options',
      problems: [{ did_you_mean: 'mask' }],
    })
    const other = await library()
    await expect(wrong({ model: smallNet(other) })).rejects.toThrow(/must be of this worker/)
  })

  it('runs in call order: later calls see the weights after it', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const [before, , after, , last] = await Promise.all([
      model.forward(ids(2, 9)),
      x.trainStep({ model, optimizer, batches: [[ids(2, 9)], [ids(2, 7)]] }),
      model.forward(ids(2, 9)),
      x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] }),
      model.forward(ids(2, 9)),
    ])
    expect(after.item()).toBeLessThan(before.item() as number)
    expect(last.item()).toBeLessThan(after.item() as number)
  })

  it('is aborted as a whole', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.5 })
    const state = await model.stateDict()
    const controller = new AbortController()
    const reason = new Error('enough')
    const batches = Array.from({ length: 200 }, (): Batch => [ids(2, 9)])
    const pending = x.trainStep({ model, optimizer, batches, signal: controller.signal })
    setTimeout(() => controller.abort(reason), 5)
    await expect(pending).rejects.toBe(reason)
    expect(await weights(model)).toEqual([...state.values()].map(numbers))
    await expect(
      x.trainStep({ model, optimizer, batches, signal: controller.signal }),
    ).rejects.toBe(reason)

    // its gradient does not remain in the next one
    const twin = smallModel(x)
    await twin.loadStateDict(state)
    const step = { batches: [[ids(2, 9)] as Batch], max_grad_norm: Infinity }
    const { grad_norm } = await x.trainStep({ ...step, model, optimizer })
    expect(grad_norm).toBeGreaterThan(0)
    const same = await x.trainStep({
      ...step,
      model: twin,
      optimizer: new x.SGD(twin, { lr: 0.5 }),
    })
    expect(same.grad_norm).toBe(grad_norm)
  })

  it('leaves nothing in memory', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.AdamW(model)
    const step = async () => {
      await x.trainStep({ model, optimizer, batches: [[ids(2, 9)], [ids(2, 9)]], max_grad_norm: 1 })
      await model.forward(ids(2, 9))
      await model.generate(ids(1, 3), 4)
      await all(model.stream(ids(1, 3), 4))
      await collect()
      return (await x.memory()).native_bytes
    }
    const first = await step()
    for (let i = 0; i < 20; i++) await step()
    expect(await step()).toBeLessThan(first + 4096)
  })
})

describe('an optimizer in a worker', () => {
  /** A step that is large if the learning rate is. */
  async function moved(
    x: Library,
    model: ReturnType<typeof smallModel>,
    optimizer: InstanceType<Library['SGD']>,
  ) {
    const before = await model.stateDict()
    await x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })
    const after = await model.stateDict()
    return [...before]
      .filter(([name, t]) => String(numbers(t)) !== String(numbers(after.get(name) as never)))
      .map(([name]) => name)
  }

  it('uses the learning rate that was set, in call order', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0 })
    expect(await moved(x, model, optimizer)).toEqual([])
    optimizer.lr = 0.1
    expect(optimizer.lr).toBe(0.1)
    expect((await moved(x, model, optimizer)).length).toBeGreaterThan(5)
    const step = { model, optimizer, batches: [[ids(2, 9)] as Batch] }
    const pending = x.trainStep(step)
    optimizer.lr = 0
    await pending
    expect(await moved(x, model, optimizer)).toEqual([])
    await optimizer.setOptions({ lr: 0.2, momentum: 0.9 })
    expect(optimizer.lr).toBe(0.2)
    expect((await moved(x, model, optimizer)).length).toBeGreaterThan(5)
  })

  it('has the defaults of the main library', async () => {
    const x = await library()
    const model = smallModel(x)
    const own = mainNet().parameters()
    expect(new x.SGD(model).lr).toBe(new main.SGD(own).lr)
    expect(new x.Adam(model).lr).toBe(new main.Adam(own).lr)
    expect(new x.AdamW(model).lr).toBe(new main.AdamW(own).lr)
  })

  it('reports an invalid learning rate with the next call', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model)
    const step = { model, optimizer, batches: [[ids(2, 9)] as Batch] }
    optimizer.lr = -1
    await expect(x.trainStep(step)).rejects.toMatchObject({ code: 'invalid_options' })
    await x.trainStep(step)
    await expect(optimizer.setOptions({ momentums: 1 } as never)).rejects.toMatchObject({
      code: 'invalid_options',
    })
    await expect(optimizer.setOptions({ lr: 1 }, 3)).rejects.toThrow(/no group 3; there are 1/)
    await expect(optimizer.ready).resolves.toBe(optimizer)
  })

  it('has groups by parameter names', async () => {
    const x = await library()
    const model = smallModel(x)
    const { parameters } = await model.describe()
    const [matrices, vectors] = [true, false].map((many) =>
      parameters.filter(({ shape }) => shape.length > 1 === many).map(({ name }) => name),
    ) as [string[], string[]]
    const optimizer = new x.SGD([
      { model, params: matrices, lr: 0.1 },
      { model, params: vectors, lr: 0 },
    ])
    expect(optimizer.lr).toBe(0.1)
    expect((await moved(x, model, optimizer)).every((name) => matrices.includes(name))).toBe(true)
    await optimizer.setOptions({ lr: 0 }, 0)
    await optimizer.setOptions({ lr: 0.1 }, 1)
    expect((await moved(x, model, optimizer)).every((name) => vectors.includes(name))).toBe(true)

    const some = new x.SGD([{ model, params: vectors.slice(0, 1) }], { lr: 0.1 })
    expect(await moved(x, model, some)).toEqual(vectors.slice(0, 1))
    await expect(new x.SGD([{ model, params: ['nothing'] }]).ready).rejects.toThrow(
      /no parameter "nothing"/,
    )
    await expect(new x.SGD([{ model }, { model }]).ready).rejects.toThrow(/given twice/)
    expect(() => new x.SGD([] as never)).toThrow(/needs a model/)
    expect(() => new x.SGD({} as never)).toThrow(/needs a model/)
  })

  it('names every problem of its options, in every call on it', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.AdamW(model, { lr: -1, beta: [0.9, 0.9] } as never)
    const problem = { code: 'invalid_options', problems: [expect.anything(), expect.anything()] }
    await expect(x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })).rejects.toMatchObject(
      problem,
    )
    await expect(optimizer.ready).rejects.toMatchObject(problem)
  })

  it.each(['safetensors', 'torch'] as const)(
    'continues where it was saved, in the format %s',
    async (format) => {
      const x = await library()
      const model = smallModel(x)
      const optimizer = new x.AdamW(model, { lr: 0.01 })
      const step = { batches: [[ids(2, 9)] as Batch] }
      await x.trainStep({ ...step, model, optimizer })
      const [weightsThen, stateThen] = [
        await model.saveBytes(),
        await optimizer.saveBytes({ format }),
      ]
      const want = [
        await x.trainStep({ ...step, model, optimizer }),
        await x.trainStep({ ...step, model, optimizer }),
      ]

      const other = await library()
      const loaded = await other.load<typeof model>(weightsThen)
      const again = new other.AdamW(loaded)
      await again.load(stateThen)
      expect(again.lr).toBe(0.01)
      for (const result of want)
        expect(await other.trainStep({ ...step, model: loaded, optimizer: again })).toEqual(result)
      await expect(new other.SGD(loaded).load(stateThen)).rejects.toMatchObject({
        code: 'invalid_checkpoint',
      })
    },
  )

  it('can be disposed', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.AdamW(model)
    optimizer.zeroGrad()
    const step = { model, optimizer, batches: [[ids(2, 9)] as Batch] }
    const pending = x.trainStep(step)
    optimizer.dispose()
    await pending
    await expect(x.trainStep(step)).rejects.toMatchObject({ code: 'disposed' })
    await expect(optimizer.saveBytes()).rejects.toMatchObject({ code: 'disposed' })
    await model.forward(ids(2, 9))
  })
})
