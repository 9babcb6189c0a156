// Models and tensors on a GPU that the CPU emulates.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { emulated, MODEL, root, withDriver } from './emulated.js'

withDriver('on a GPU', () => {
  it('a model trains, generates, and is saved as on the CPU', async () => {
    const program = (move: string) => `${MODEL}
      ${move}
      const optimizer = new AdamW(model.parameters(), { lr: 0.01 })
      const losses = []
      for (let i = 0; i < 3; i++) {
        const loss = await model.forward(batch.to(device))
        losses.push(loss.item())
        await loss.backward()
        await optimizer.step()
        optimizer.zeroGrad()
      }
      const prompt = tensor([1, 2, 3], { dtype: 'i64' }).to(device)
      const tokens = await model.generate(prompt, 6, { temperature: 0 })
      const again = await load(await model.saveBytes(), { device })
      const lossOf = (m) => noGrad(() => m.forward(batch.to(device)))
      const [a, b] = await Promise.all([model, again].map(lossOf))
      log([losses, tokens.toArray(), a.item() === b.item(), again.parameters()[0].device])`
    const [cpu] = (await emulated(program(`const device = 'cpu'`))) as unknown[][]
    const [gpu] = (await emulated(program(`const device = 'cuda:0'; model.cuda()`))) as unknown[][]
    // the optimizer's version for arrays that it cannot change in place rounds in another order
    const [want, got] = [cpu?.[0], gpu?.[0]] as [number[], number[]]
    expect(got[0]).toBe(want[0])
    for (const [i, loss] of got.entries()) expect(loss).toBeCloseTo(want[i] as number, 5)
    expect(gpu?.slice(1, 3)).toEqual(cpu?.slice(1, 3))
    expect([cpu?.[3], gpu?.[3]]).toEqual(['cpu', 'cuda:0'])
  })

  it('an index out of range is an error, at once or at the next read', async () => {
    const lines = await emulated(`${MODEL}
      model.cuda()
      const bad = tensor([[1, 16, 3]], { dtype: 'i64', device: 'cuda' })
      log(await caught(() => model.net.forward(bad)))
      const x = randn([4, 3], { device: 'cuda' })
      const ids = tensor([[0, 1, 2]], { dtype: 'i64', device: 'cuda' })
      const targets = tensor([0, 1, 2, 0], { dtype: 'i64', device: 'cuda' })
      // these are computed on the GPU
      log(await caught(() => x.gather(0, ids.add(2)).data()))
      log(await caught(async () => (await model.net.forward(ids.add(15))).data()))
      log(await caught(() => crossEntropy(x, targets.add(1)).item()))
      log(await caught(() => x.div(0).to('i64').data()))
      // an axis without elements has no index at all
      const none = zeros([0, 3], { device: 'cuda' })
      log(await caught(() => none.gather(0, ids.add(0))))
      const empty = zeros([4, 0], { device: 'cuda' })
      log(await caught(() => crossEntropy(empty, targets.add(0)).item()))
      // the GPU can be used as before
      log((await model.net.forward(tensor([[1, 2]], { dtype: 'i64', device: 'cuda' }))).shape)
      log(x.gather(0, ids.add(1)).toArray()[0].every(Number.isFinite))`)
    const errors = [
      /token id 16 at \[0, 1\]/,
      /gather: index 4 is out/,
      /embedding: index 1[67] is out of range: there are 16 rows/,
      /cross-entropy: target 3 is out of range: the logits have 3 classes/,
      /cast: a number does not fit a 64-bit integer/,
      /3 indices into an axis of size 0/,
      /target \d is out of range: the logits have 0 classes/,
    ].map((message) => ['invalid_tensor', expect.stringMatching(message)])
    expect(lines).toEqual([...errors, [1, 2, 16], true])
  })

  it('a library of `spawn` gives a model its tensors', async () => {
    const lines = await emulated(`
      import { spawn } from 'x-transformers/worker'
      const x = await spawn()
      setDefaultDevice('cuda')
      const model = new x.AutoregressiveWrapper(new x.TransformerWrapper({
        num_tokens: 16, max_seq_len: 16,
        attn_layers: new x.Decoder({ dim: 16, depth: 1, heads: 2 }),
      }))
      await model.ready
      setDefaultDevice('cpu')
      const ids = randint(0, 16, [2, 9])
      const optimizer = new x.AdamW(model, { lr: 0.01 })
      const { loss } = await x.trainStep({ model, optimizer, batches: [[ids]] })
      log(Number.isFinite(loss))
      log((await model.generate(ids, 3)).shape)
      log(memory().gpu_bytes > 0)
      x.terminate()`)
    expect(lines).toEqual([true, [2, 3], true])
  })

  it('the recorded cases of Python are reproduced by the public classes', async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['scripts/run.mjs', 'parity', 'test/golden', '--device', 'cuda', '--emulate'],
      { cwd: root, timeout: 240_000 },
    )
    expect(stdout).toMatch(/^\d{3} passed, 0 failed, 0 skipped$/m)
  }, 250_000)
})
