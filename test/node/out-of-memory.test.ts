// Under memory limits out_of_memory is an ordinary error: no child process is killed by a signal,
// and each continues afterwards.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { ones, zeros } from 'x-transformers'
import { often, SLOW, slow } from '../slow.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const LINUX = process.platform === 'linux'
/** Timeout: the children compute, on any number of processors. */
const PATIENCE = 240_000
const folder = mkdtempSync(join(tmpdir(), 'xt-out-of-memory-'))
afterAll(() => rmSync(folder, { recursive: true }))

/**
 * The start of every child program. `until` repeats a call until it fails, and then frees all of
 * its results.
 */
const START = `
const xt = require(${JSON.stringify(join(ROOT, 'dist/cjs/index.js'))})
const { AdamW, Adam, SGD, AutoregressiveWrapper, Decoder, TransformerWrapper, cat, load, noGrad, ones, randint, randn, zeros } = xt
const MILLION = 2 ** 20
const gpt = (dim, depth, length = 1024) => new AutoregressiveWrapper(
  new TransformerWrapper({ num_tokens: 256, max_seq_len: length, attn_layers: new Decoder({ dim, depth, heads: 4 }) }))
const ids = (...shape) => randint(0, 256, shape)
async function step(model, optimizer, x) {
  const loss = await model.forward(x)
  await loss.backward()
  await optimizer.step()
  optimizer.zeroGrad()
}
async function until(run, most = 1000) {
  const all = []
  try {
    for (let i = 0; i < most; i++) all.push(await run(i))
  } catch (error) {
    if (error.code !== 'out_of_memory') throw error
    if (!/needs? [0-9.]+ [MG]iB.*, and [0-9.]+ [MG]iB are available/.test(error.message)) throw new Error(error.message)
    console.log('refused', all.length, error.message)
  }
  for (const made of all.flat(9)) made?.dispose?.()
}
async function well() {
  const model = gpt(32, 1)
  const optimizer = new AdamW(model.parameters())
  await step(model, optimizer, ids(2, 17))
  if (ones([1000]).sum().item() !== 1000) throw new Error('wrong sum')
  optimizer.dispose?.()
  model.dispose()
}
`

const RUNS = {
  'tensors of 16 MB': 'await until(() => zeros([4 * MILLION]))',
  'small tensors': 'await until(() => randn([20_000]), 100_000)',
  'every type': `for (const dtype of ['f64', 'f16', 'bf16', 'i64', 'u8', 'bool']) await until(() => ones([3 * MILLION], { dtype }))`,
  arithmetic: `const [a, b] = [randn([2048, 1024]), randn([1024])]
    await until((i) => [a.add(b), a.exp(), a.gt(b), a.pow(2), a.div(3), a.softmax(0), a.matmul(a.permute([1, 0]))][i % 7])`,
  'half precision': `const a = randn([2048, 1024]).to('f16')
    await until((i) => [a.add(a), a.exp(), a.to('f32'), a.to('f64'), a.matmul(a.permute([1, 0])), a.softmax(-1)][i % 6])`,
  'whole numbers': `const a = randint(0, 9, [2048, 1024])
    await until((i) => [a.add(a), a.mul(3), a.eq(2), a.to('u8'), a.to('f32'), a.max(0)][i % 6])`,
  'copies and parts': `const a = randn([1024, 1024])
    await until((i) => [cat([a, a], 1), a.permute([1, 0]).reshape([-1]), cat([a.permute([1, 0]), a], 0)][i % 3])`,
  'copies for JavaScript': `const a = randn([3 * MILLION])
    await until((i) => a.data())`,
  gradients: `const a = randn([1024, 1024], { requires_grad: true })
    await until((i) => [a.mul(a).exp(), a.pow(2).max(1), a.slice(0, 0, 500).mul(2), a.softmax(-1).mul(a)][i % 4])
    await a.mul(a).sum().backward()`,
  'larger and larger batches': `const model = gpt(128, 3)
    const optimizer = new AdamW(model.parameters())
    await until((i) => step(model, optimizer, ids(2 ** i, 257)), 16)`,
  'larger and larger models': `for (const make of [(p) => new SGD(p, { lr: 0.1, momentum: 0.9 }), (p) => new Adam(p)])
    await until(async (i) => {
      const model = gpt(256 * (i + 1), 4)
      await step(model, make(model.parameters()), ids(1, 33))
      return model
    }, 16)`,
  'orders, running sums and triangles': `const [wide, tall] = [randn([1, 3 * MILLION]), randn([2, 2 * MILLION])]
    await until((i) => [wide.argsort(), tall.cumsum(0), wide.sort(-1, { descending: true })][i % 3])
    await until((i) => ones([1, 1]).expand([4096, 1024 * 2 ** i]).triu(), 20)`,
  generation: `const model = gpt(128, 2)
    await until((i) => model.generate(ids(8 ** (i + 1), 32), 8), 9)
    await until((i) => model.generate(ids(4, 32), 8, { num_beams: 8 ** (i + 1) }), 7)`,
  'saving and loading': `await until(async (i) => {
      const model = gpt(256 * (i + 1), 4)
      const path = process.env.FOLDER + '/model-' + i + '.safetensors'
      await model.save(path)
      return [model, await load(path)]
    }, 16)`,
  'a file of PyTorch of 4 GB that comes as a stream': `const fs = require('node:fs')
    const path = process.env.FOLDER + '/sparse.pt'
    fs.writeFileSync(path, 'PK\\x03\\x04')
    fs.truncateSync(path, 4 * 2 ** 30)
    const body = () => fs.createReadStream(path, { highWaterMark: 2 ** 20 })
    const headers = new Map([['content-length', String(4 * 2 ** 30)]])
    await until(() => xt.loadTensors(body()), 1)
    await until(() => xt.loadTensors(require('node:stream').Readable.toWeb(body())), 1)
    await until(() => xt.loadTensors({ ok: true, clone() {}, headers, body: body() }), 1)`,
  'quantized models': `await until(async (i) => {
      const model = gpt(512 * (i + 1), 3)
      model.quantize('q4_0')
      await model.generate(ids(1, 8), 4)
      return model
    }, 16)`,
  'a model of 10 GB': `const model = gpt(4096, 12)
    await until(() => model.forward(ids(1, 9)), 1)
    await until(async () => { for (const parameter of model.parameters()) await parameter.data() }, 1)
    await until(() => model.saveBytes(), 1)
    await until(() => new AdamW(model.parameters()), 1)
    model.dispose()`,
}

const OFTEN = [
  'arithmetic',
  'copies for JavaScript',
  'gradients',
  'orders, running sums and triangles',
  'larger and larger models',
  'saving and loading',
  'a model of 10 GB',
] as const

/** Runs a program in a process with limits; returns its output and how it ended. */
function child(limits: string, program: string) {
  const code = `${START}
;(async () => {
  await well()
  await (async () => {${program}})()
  // garbage is freed an iteration of the event loop later
  for (let i = 0; i < 4; i++) {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await well()
  console.log('well')
})()`
  const node = `exec "${process.execPath}" --expose-gc -e "$PROGRAM"`
  const env = {
    ...process.env,
    PROGRAM: code,
    FOLDER: folder,
    NODE_OPTIONS: '',
    RAYON_NUM_THREADS: '2',
  }
  const { status, signal, stdout, stderr } = spawnSync(
    'bash',
    ['-c', `ulimit -c 0; ${limits}; ${node}`],
    {
      env,
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    },
  )
  for (const name of readdirSync(folder)) rmSync(join(folder, name))
  return { status, signal, lines: stdout.trim().split('\n'), stderr: stderr.slice(0, 2000) }
}

slow.describe('nested arrays', () => {
  it('are rejected if the JavaScript heap cannot hold them', () => {
    const large = zeros([2 ** 16, 2 ** 14], { dtype: 'u8' })
    expect(() => large.toArray()).toThrow(
      /\[65536, 16384\] need 16384 MiB of JavaScript's heap, and \d+ MiB are .*data\(\)/,
    )
    const row = zeros([2 ** 28], { dtype: 'bool' })
    expect(() => row.toArray()).toThrow(expect.objectContaining({ code: 'out_of_memory' }))
    for (const tensor of [large, row]) tensor.dispose()
    expect(ones([1000, 20]).toArray()).toHaveLength(1000)
  })
})

describe.runIf(LINUX)('a process with a small address space', () => {
  // more than half of it is used by the engine
  it.each(often(RUNS, OFTEN))('fails in %s and continues', { timeout: PATIENCE }, (_, program) => {
    const { status, signal, lines, stderr } = child('ulimit -v 1400000', program)
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
    expect(lines.at(-1)).toBe('well')
    expect(lines.length, 'nothing was refused').toBeGreaterThan(1)
  })

  it.each([...(SLOW ? ['ulimit -v 1100000', 'ulimit -v 2500000'] : []), 'ulimit -d 600000'])(
    'works with any limit: %s',
    { timeout: PATIENCE },
    (limits) => {
      const all = [RUNS['tensors of 16 MB'], RUNS['whole numbers'], RUNS['a model of 10 GB']]
      const { status, signal, lines, stderr } = child(
        limits,
        all.map((run) => `await (async () => {${run}})();`).join('\n'),
      )
      expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
      expect(lines.at(-1)).toBe('well')
      expect(lines.length).toBeGreaterThan(2 + all.length)
    },
  )

  it.each(['ulimit -v 2500000', 'ulimit -d 1500000'])(
    'rejects nested arrays: %s',
    { timeout: PATIENCE },
    (limits) => {
      const program = `const large = zeros([16384, 8192], { dtype: 'u8' })
      await until(() => large.toArray(), 1)
      if (zeros([2048, 1024]).toArray().length !== 2048) throw new Error('wrong length')`
      const { status, signal, lines } = child(limits, program)
      expect({ status, signal }).toEqual({ status: 0, signal: null })
      expect(lines[0]).toMatch(/^refused 0 .*nested arrays of shape \[16384, 8192\] need 2048 MiB/)
      expect(lines.at(-1)).toBe('well')
    },
  )

  it('fits the expected number of tensors', () => {
    const { lines } = child('ulimit -v 2500000', RUNS['tensors of 16 MB'])
    const [, made, needs] = /^refused (\d+) .* needs (\d+) MiB/.exec(lines[0] as string) ?? []
    expect(Number(needs)).toBe(16)
    // of 2.4 GiB, the engine uses about 0.8
    expect(Number(made)).toBeGreaterThan(60)
    expect(Number(made)).toBeLessThan(120)
  })
})
