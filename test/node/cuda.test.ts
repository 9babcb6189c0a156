// GPUs, with the CUDA driver that runs on the CPU (crates/kernels/src/cuda/emulator): each program
// is a process of its own, since the driver is looked for once.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { cudaInfo } from 'x-transformers'
import { canEmulate, emulatedDriver } from '../../scripts/cuda/emulator.mjs'
import { compiledKernels, kernelUsage } from '../../scripts/cuda/kernels.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

const MODEL = `
  manualSeed(1)
  const model = new AutoregressiveWrapper(new TransformerWrapper({
    num_tokens: 16, max_seq_len: 16,
    attn_layers: new Decoder({ dim: 16, depth: 2, heads: 2, rotary_pos_emb: true, ff_glu: true }),
  }))
  const batch = randint(0, 16, [2, 9])`

let driver: string

/** What a program logs as JSON, line by line, and what the driver prints. */
async function outputs(program: string, env: Record<string, string> = {}) {
  const code = `
    import {
      AdamW, AutoregressiveWrapper, clipGradNorm, crossEntropy, cudaInfo, cudaIsAvailable, Decoder,
      load, manualSeed, memory, noGrad, randint, randn, setDefaultDevice, tensor,
      TransformerWrapper, where, zeros,
    } from 'x-transformers'
    const log = (value) => console.log(JSON.stringify(value))
    /** Code and message of the error. */
    const caught = async (work) => {
      try { await work() } catch ({ code, message }) { return [code, message] }
    }
    ${program}`
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', code],
    { cwd: root, env: { ...process.env, ...env }, timeout: 60_000 },
  )
  const lines: unknown[] = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  return { lines, stderr }
}

const run = async (program: string, env?: Record<string, string>) =>
  (await outputs(program, env)).lines

const emulated = (program: string, env: Record<string, string> = {}) =>
  run(program, { LD_LIBRARY_PATH: driver, ...env })

beforeAll(async () => {
  if (canEmulate) driver = await emulatedDriver()
}, 120_000)

// the emulated driver runs on Linux on x86-64 alone
const withDriver = describe.skipIf(!canEmulate)

it('kernels spill no registers, and a block of 256 threads fits any GPU', async ({ skip }) => {
  const folder = await compiledKernels()
  if (folder === null) return skip('NVRTC could not be fetched')
  const kernels = kernelUsage(folder)
  expect(kernels.length).toBeGreaterThan(2 * 200)
  const most = { registers: 65_536 / 256, shared: 48 * 1024 }
  const wrong = kernels.filter(
    ({ registers, spill_bytes, shared_bytes }) =>
      spill_bytes > 0 || registers > most.registers || shared_bytes > most.shared,
  )
  expect(wrong).toEqual([])
})

it('without Python, the addon is built without kernels, and that is said', async () => {
  const empty = mkdtempSync(join(tmpdir(), 'x-transformers-'))
  try {
    const program = `
      import { compiledKernels } from './scripts/cuda/kernels.mjs'
      console.log(await compiledKernels())`
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', program],
      { cwd: root, env: { PATH: empty, XT_CACHE: empty } },
    )
    expect(stdout.trim()).toBe('null')
    expect(stderr).toMatch(/without CUDA kernels, since there is no Python 3 on PATH/)
  } finally {
    rmSync(empty, { recursive: true, force: true })
  }
})

/** What is wrong, how the driver is told, the reason that is given, the driver's version. */
type Case = [name: string, env: Record<string, string>, reason: RegExp, version: string | null]

const NO_DRIVER: Case = ['no driver', {}, /no NVIDIA driver/, null]

withDriver('without a usable GPU', () => {
  const refused = `
    const code = (fn) => {
      try { fn(); return null } catch ({ code, message }) { return [code, message] }
    }
    const { available, reason, driver } = cudaInfo()
    log([available, cudaIsAvailable(), reason, driver])
    const model = new Decoder({ dim: 8, depth: 1, heads: 1 })
    log(code(() => model.cuda()))
    log(code(() => randn([2], { device: 'cuda' })))
    log((await model.forward(randn([1, 2, 8]))).shape)`

  it.each<Case>([
    // a driver that this machine has cannot be hidden
    ...(cudaInfo().driver ? [] : [NO_DRIVER]),
    ['a driver that fails', { EMULATED_CUDA_INIT: '999' }, /cuInit failed/, null],
    ['a driver that is too old', { EMULATED_CUDA_VERSION: '11080' }, /too old.* 11\.8/, '11.8'],
    ['no GPU', { EMULATED_CUDA_DEVICES: '0' }, /no NVIDIA GPU/, '12.4'],
    ['an old GPU', { EMULATED_CUDA_CAPABILITY: '75' }, /capability 7\.5; 8\.0 is needed/, '12.4'],
  ])('the reason is told: %s', async (name, env, reason, version) => {
    const [info, model, tensor, shape] = await (name === 'no driver' ? run : emulated)(refused, env)
    expect(info).toEqual([false, false, expect.stringMatching(reason), version])
    expect(model).toEqual(['not_available', expect.stringMatching(reason)])
    expect(tensor).toEqual(['not_available', expect.stringMatching(reason)])
    expect(shape).toEqual([1, 2, 8])
  })
})

withDriver('on a GPU', () => {
  it('is described', async () => {
    // any file that is there: cuBLASLt is looked for, not loaded
    const cublas = fileURLToPath(import.meta.url)
    const env = { EMULATED_CUDA_DEVICES: '2', XT_CUBLAS: cublas }
    const [info] = await emulated('log(cudaInfo())', env)
    const device = { compute_capability: '8.0', memory_bytes: 4 * 2 ** 30, reason: null }
    expect(info).toEqual({
      available: true,
      reason: null,
      driver: '12.4',
      cublas_lt: cublas,
      devices: [0, 1].map((index) => ({ ...device, index, name: `emulated GPU ${index}` })),
    })
  })

  it('tensors of all types and layouts keep their values', async () => {
    const lines = await emulated(`
      for (const dtype of ['f32', 'f64', 'f16', 'bf16', 'i64', 'u8', 'bool']) {
        const x = tensor([[1, 0, 1], [0, 1, 1]], { dtype })
        const y = x.to('cuda')
        const equal = (view) =>
          JSON.stringify(view(y).toArray()) === JSON.stringify(view(x).toArray())
        log([y.device, y.dtype === dtype, equal((t) => t), equal((t) => t.permute([1, 0])),
          equal((t) => t.slice(1, 1, 3))])
      }
      log(randn([0, 3], { device: 'cuda:0' }).toArray())`)
    expect(lines.slice(0, 7)).toEqual(Array(7).fill(['cuda:0', true, true, true, true]))
    expect(lines[7]).toEqual([])
  })

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

  it('one that is not there is refused by name', async () => {
    const [message] = await emulated(
      `try { randn([2], { device: 'cuda:1' }) } catch ({ message }) { log(message) }`,
    )
    expect(message).toMatch(/cuda:1 cannot be used: this machine has 1 GPU/)
  })

  it('one that is too old does not stand in the way of another', async () => {
    const lines = await emulated(
      `log(cudaInfo().devices.map(({ reason }) => reason))
       log(await caught(() => randn([2], { device: 'cuda:0' })))
       log(randn([2], { device: 'cuda:1' }).add(1).sum().toArray() !== undefined)`,
      { EMULATED_CUDA_DEVICES: '2', EMULATED_CUDA_CAPABILITY: '75,80' },
    )
    const old = expect.stringMatching(/capability 7\.5; 8\.0 is needed/)
    expect(lines).toEqual([[old, null], ['not_available', old], true])
  })

  it('where the driver refuses the machine code, it compiles PTX', async () => {
    // the emulated driver knows no machine code, which is for this capability
    const env = { LD_LIBRARY_PATH: driver, EMULATED_CUDA_CAPABILITY: '90', EMULATED_CUDA_LOG: '1' }
    const { lines, stderr } = await outputs(
      `log(tensor([1, 2], { device: 'cuda' }).sum().item())`,
      env,
    )
    expect(lines).toEqual([3])
    expect(stderr).toMatch(/^emulated 2 cuModuleLoadData,/m)
  })

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

  it('a driver that fails is an error that says what to do, and the CPU goes on', async () => {
    const program = `
      log(await caught(async () => {
        const x = randn([4, 4], { device: 'cuda' })
        x.sum().item()
      }))
      log(randn([2]).shape)`
    const failing = [
      ...['cuDevicePrimaryCtxRetain', 'cuStreamCreate', 'cuMemHostAlloc', 'cuMemAllocAsync'],
      ...['cuMemcpyHtoDAsync_v2', 'cuMemcpyDtoHAsync_v2', 'cuStreamSynchronize'],
      ...['cuModuleLoadData', 'cuModuleGetFunction', 'cuLaunchKernel', 'sum_rows_f32'],
    ]
    for (const name of failing) {
      const [error, shape] = await emulated(program, { EMULATED_CUDA_FAIL: name })
      const unopened = ['cuDevicePrimaryCtxRetain', 'cuStreamCreate', 'cuMemHostAlloc']
      const code = unopened.includes(name) ? 'not_available' : 'device'
      expect(error, name).toEqual([code, expect.stringMatching(/cuda:0: .*start it again/)])
      expect(shape, name).toEqual([2])
    }
  })

  it('a training step copies its ids and its loss, and waits for nothing else', async () => {
    const log = { LD_LIBRARY_PATH: driver, EMULATED_CUDA_LOG: '1' }
    const steps = async (count: number) => {
      const { stderr } = await outputs(
        `${MODEL}
         model.cuda()
         const optimizer = new AdamW(model.parameters())
         for (let i = 0; i < ${count}; i++) {
           const ids = batch.to('cuda')
           const loss = await model.forward(ids)
           await loss.backward()
           await optimizer.step()
           optimizer.zeroGrad()
           loss.item()
           loss.dispose()
           ids.dispose()
         }`,
        log,
      )
      const line = /^emulated (\d+) (.+), (\d+) bytes$/gm
      const calls = [...stderr.matchAll(line)].map(
        ([, count, name, bytes]) => [name as string, [Number(count), Number(bytes)]] as const,
      )
      return new Map(calls)
    }
    const [some, more] = await Promise.all([4, 9].map(steps))
    const difference = (name: string) =>
      [0, 1].map((i) => ((more?.get(name)?.[i] ?? 0) - (some?.get(name)?.[i] ?? 0)) / 5)
    expect(difference('cuMemcpyHtoDAsync_v2')).toEqual([1, 2 * 9 * 8])
    expect(difference('cuMemcpyDtoHAsync_v2')).toEqual([1, 4])
    expect(difference('cuStreamSynchronize')[0]).toBe(2)
    expect(difference('cuLaunchKernel')[0]).toBeGreaterThan(50)
    // the pool keeps what is freed
    expect(difference('cuMemAllocAsync')[0]).toBeGreaterThan(50)
    expect(difference('blocks from the system')).toEqual([0, 0])
  })

  it('where() with a number copies nothing', async () => {
    const { lines, stderr } = await outputs(
      `const x = randn([3], { device: 'cuda' })
       log(where(x.gt(1e9), x, -Infinity).toArray().length)`,
      { LD_LIBRARY_PATH: driver, EMULATED_CUDA_LOG: '1' },
    )
    expect(lines).toEqual([3])
    expect(stderr).toMatch(/^emulated 1 cuMemcpyHtoDAsync_v2,/m)
  })

  it('data() lets JavaScript go on while the GPU works', async () => {
    const [[called, whole, sum]] = (await emulated(
      `const x = zeros([384, 384], { device: 'cuda' }).add(1)
       const y = x.matmul(x).matmul(x)
       const start = performance.now()
       const pending = y.data()
       const called = performance.now() - start
       const data = await pending
       log([called, performance.now() - start, data[0]])`,
      { EMULATED_CUDA_LATE: '1' },
    )) as [[number, number, number]]
    expect(sum).toBe(384 ** 2)
    expect(called).toBeLessThan(whole / 4)
  })

  it('what does not fit is refused, and what is disposed is free at once', async () => {
    const lines = await emulated(
      `const full = []
       try { for (;;) full.push(randn([2 ** 18], { device: 'cuda' })) }
       catch ({ code, message }) { log([code, message, full.length]) }
       full.pop().dispose()
       log(randn([2 ** 18], { device: 'cuda' }).shape)`,
      { EMULATED_CUDA_MEMORY: `${4 * 2 ** 20 + 1}` },
    )
    const text = expect.stringMatching(/needs 1 MiB, and 1 MiB are available on cuda:0/)
    expect(lines[0]).toEqual(['out_of_memory', text, 4])
    expect(lines[1]).toEqual([2 ** 18])
  })

  it('large arrays are checked, and what the pool keeps is given to others', async () => {
    const lines = await emulated(
      `const make = (megabytes) => zeros([megabytes * 2 ** 18], { device: 'cuda' })
       const x = make(64)
       log(await caught(() => make(64)))
       x.dispose()
       // neither fits beside the 64 MiB that the pool keeps
       make(80).dispose()
       log(make(10).shape)
       log(await caught(() => make(101)))`,
      { EMULATED_CUDA_MEMORY: `${100 * 2 ** 20}` },
    )
    const refused = (message: RegExp) => ['out_of_memory', expect.stringMatching(message)]
    expect(lines).toEqual([
      refused(/needs 64 MiB, and 36 MiB are available on cuda:0/),
      [10 * 2 ** 18],
      refused(/needs 101 MiB, and 90 MiB are available on cuda:0/),
    ])
  })

  it('a model that does not fit stays where it is, as a whole', async () => {
    const lines = await emulated(
      `${MODEL}
       await model.forward(batch)
       log(await caught(() => model.cuda()))
       log([...new Set(model.parameters().map(({ device }) => device))])
       log([memory().gpu_bytes, (await model.forward(batch)).shape])`,
      { EMULATED_CUDA_MEMORY: '20000' },
    )
    expect(lines).toEqual([
      ['out_of_memory', expect.stringContaining('on cuda:0')],
      ['cpu'],
      [0, []],
    ])
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

  it('memory() counts its arrays, which dispose frees at once', async () => {
    const lines = await emulated(`
      const bytes = () => memory().gpu_bytes
      log(bytes())
      const x = zeros([1000], { device: 'cuda' })
      log(bytes())
      x.dispose()
      log(bytes())
      ${MODEL}
      model.cuda()
      const optimizer = new AdamW(model.parameters())
      const sizes = []
      for (let i = 0; i < 5; i++) {
        const ids = batch.to('cuda')
        const loss = await model.forward(ids)
        await loss.backward()
        await clipGradNorm(model.parameters(), 1)
        await optimizer.step()
        optimizer.zeroGrad()
        loss.dispose()
        ids.dispose()
        sizes.push(bytes())
      }
      log(sizes.slice(2).every((size) => size === sizes[1]))
      optimizer.dispose()
      model.dispose()
      log(bytes())`)
    expect(lines).toEqual([0, 4000, 0, true, 0])
  })

  it('tensors that are not disposed of are collected before its memory is full', async () => {
    const [count] = await emulated(
      `for (let i = 0; i < 400; i++) {
         zeros([2 ** 18], { device: 'cuda' })
         await new Promise((resolve) => setImmediate(resolve))
       }
       log(memory().gpu_bytes / 2 ** 20)`,
      { EMULATED_CUDA_MEMORY: `${64 * 2 ** 20}` },
    )
    expect(count).toBeLessThan(64)
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

  it('the recorded cases of Python are reproduced by the public classes', async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['scripts/run.mjs', 'parity', 'test/golden', '--device', 'cuda', '--emulate'],
      { cwd: root, timeout: 240_000 },
    )
    expect(stdout).toMatch(/^\d{3} passed, 0 failed, 0 skipped$/m)
  }, 250_000)
})
