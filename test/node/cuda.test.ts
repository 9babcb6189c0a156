// The addon with GPUs and without.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { cudaInfo } from 'x-transformers'
import { compiledKernels, kernelUsage } from '../../scripts/cuda/kernels.mjs'
import { counted, emulated, root, run, withDriver } from './emulated.js'

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
    const env = { EMULATED_CUDA_CAPABILITY: '90' }
    const { lines, stderr } = await counted(
      `log(tensor([1, 2], { device: 'cuda' }).sum().item())`,
      env,
    )
    expect(lines).toEqual([3])
    expect(stderr).toMatch(/^emulated 2 cuModuleLoadData,/m)
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
})
