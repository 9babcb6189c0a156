// Several GPUs, and the CPU beside them.
import { expect, it } from 'vitest'
import { emulated, MODEL, withDriver } from './emulated.js'

withDriver('on a GPU', () => {
  it('a tensor on another device is refused by name', async () => {
    const lines = await emulated(
      `const one = randn([2], { device: 'cuda:0' })
       log(await caught(() => one.add(randn([2], { device: 'cuda:1' }))))
       const attn_layers = new Decoder({ dim: 8, depth: 1, heads: 1, cross_attend: true })
       const model = new TransformerWrapper({ num_tokens: 4, max_seq_len: 4, attn_layers }).cuda()
       const ids = randint(0, 4, [1, 3])
       const [at, context] = [ids.to('cuda'), randn([1, 2, 8], { device: 'cuda:1' })]
       log(await caught(() => model.forward(ids)))
       log(await caught(() => model.forward(at, { context })))
       const mask = tensor([[true, true, false]])
       const rest = { context: context.to('cuda'), context_mask: tensor([[true, true]]).cuda() }
       log(await caught(() => model.forward(at, { ...rest, mask })))
       const [weight] = model.parameters()
       log(await caught(() => { weight.grad = zeros(weight.shape) }))
       log((await model.forward(at, { ...rest, mask: mask.cuda() })).shape)`,
      { EMULATED_CUDA_DEVICES: '2' },
    )
    const errors = [
      /cuda:0.*cuda:1/,
      /TransformerWrapper\.forward: argument 1 is on cpu, the model is on cuda:0: move it with/,
      /TransformerWrapper\.forward: context is on cuda:1, the model is on cuda:0/,
      /TransformerWrapper\.forward: mask is on cpu, the model is on cuda:0/,
      /a gradient on cpu for a tensor on cuda:0/,
    ].map((message) => ['invalid_tensor', expect.stringMatching(message)])
    expect(lines).toEqual([...errors, [1, 3, 4]])
  })

  /** Trains a model on `device`; a function that gives the losses. */
  const TRAIN = `
    const train = async (device) => {
      ${MODEL}
      model.to(device)
      const optimizer = new AdamW(model.parameters(), { lr: 0.01 })
      const losses = []
      for (let i = 0; i < 4; i++) {
        const loss = await model.forward(batch.to(device))
        losses.push(loss.item())
        await loss.backward()
        await clipGradNorm(model.parameters(), 1)
        await optimizer.step()
        optimizer.zeroGrad()
      }
      return losses
    }`

  it('two GPUs compute at once, and one for two threads', async () => {
    const worker = `
      import { parentPort } from 'node:worker_threads'
      import {
        AdamW, AutoregressiveWrapper, clipGradNorm, Decoder, manualSeed, randint,
        TransformerWrapper,
      } from 'x-transformers'
      ${TRAIN}
      parentPort.postMessage(JSON.stringify(await train('cuda:0')))`
    const lines = await emulated(
      `import { once } from 'node:events'
       import { Worker } from 'node:worker_threads'
       ${TRAIN}
       const alone = JSON.stringify(await train('cuda:0'))
       const both = await Promise.all(['cuda:0', 'cuda:1', 'cuda:0'].map(train))
       log(both.map((losses) => JSON.stringify(losses) === alone))
       const workers = [1, 2].map(() => new Worker(${JSON.stringify(worker)}, { eval: true }))
       const losses = await Promise.all(workers.map((worker) => once(worker, 'message')))
       log(losses.map(([of]) => of === alone))`,
      { EMULATED_CUDA_DEVICES: '2' },
    )
    expect(lines).toEqual([
      [true, true, true],
      [true, true],
    ])
  })

  it('checkpoints go from each device to each', async () => {
    const lines = await emulated(
      `${MODEL}
       const devices = ['cpu', 'cuda:0', 'cuda:1']
       const optimizer = new AdamW(model.parameters(), { lr: 0.01 })
       const step = async (model, optimizer, device) => {
         const loss = await model.forward(batch.to(device))
         await loss.backward()
         await optimizer.step()
         optimizer.zeroGrad()
         return loss.item()
       }
       await step(model, optimizer, 'cpu')
       const found = []
       for (const from of devices) {
         model.to(from)
         const bytes = await model.saveBytes()
         const state = optimizer.stateDict()
         for (const to of devices) {
           const again = await load(bytes, { device: to })
           const own = new AdamW(again.parameters(), { lr: 0.01 })
           own.loadStateDict(state)
           await step(again, own, to)
           const [name, weight] = [...again.stateDict()][0]
           found.push([weight.device === to, (await noGrad(() =>
             again.forward(batch.to(to)))).item()])
         }
       }
       log(found)`,
      { EMULATED_CUDA_DEVICES: '2' },
    )
    const found = lines[0] as [boolean, number][]
    expect(found).toHaveLength(9)
    for (const [placed, loss] of found) {
      expect(placed).toBe(true)
      expect(loss).toBeCloseTo(found[0]?.[1] as number, 5)
    }
  })

  it('an optimizer trains parameters on several devices', async () => {
    const lines = await emulated(
      `const places = ['cpu', 'cuda:0', 'cuda:1', 'cuda:0']
       const models = places.map((device) => {
         manualSeed(1)
         return new Decoder({ dim: 8, depth: 1, heads: 1 }).to(device)
       })
       const parameters = models.flatMap((model) => model.parameters())
       const optimizer = new AdamW(parameters, { lr: 0.01 })
       for (const [i, model] of models.entries())
         await (await model.forward(randn([1, 2, 8]).to(places[i]))).mean().backward()
       log(Number.isFinite(await clipGradNorm(parameters, 1)))
       await optimizer.step()
       log(models.map((model) => model.parameters()[0].device))`,
      { EMULATED_CUDA_DEVICES: '2' },
    )
    expect(lines).toEqual([true, ['cpu', 'cuda:0', 'cuda:1', 'cuda:0']])
  })

  it('a model around another one stays with it, whatever the default device is', async () => {
    const lines = await emulated(`
      const attn_layers = new Decoder({ dim: 8, depth: 1, heads: 1 })
      setDefaultDevice('cuda')
      const model = new TransformerWrapper({ num_tokens: 4, max_seq_len: 4, attn_layers })
      log([...new Set(model.parameters().map(({ device }) => device))])
      log([...new Set(new Decoder({ dim: 8, depth: 1, heads: 1 }).parameters()
        .map(({ device }) => device))])`)
    expect(lines).toEqual([['cpu'], ['cuda:0']])
  })
})
