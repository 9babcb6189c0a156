// The number of compute threads. In a browser it is fixed when WebAssembly starts: see test/worker.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import {
  Encoder,
  info,
  noGrad,
  rand,
  randint,
  randn,
  setNumThreads,
  tensor,
  tidy,
  ViTransformerWrapper,
} from 'x-transformers'
import { ids, largerModel, numbers } from '../api/helpers.js'

const LINUX = process.platform === 'linux'

describe('the number of threads', () => {
  it('can be set at any time, and does not affect results', async () => {
    const model = largerModel()
    const x = ids(2, 200, 256)
    const first = info().threads
    const losses: number[] = []
    for (const count of [1, 3, 2, first]) {
      setNumThreads(count)
      expect(info().threads).toBe(count)
      const loss = await model.forward(x)
      await loss.backward()
      losses.push(loss.item() as number, numbers(model.forwardSync(x))[0] as number)
    }
    expect(new Set(losses).size).toBe(1)
  })

  it('uses a single processor when it is one', async () => {
    const before = info().threads
    setNumThreads(1)
    const model = largerModel()
    const x = ids(8, 257, 256)
    await model.forward(x)
    const [start, cpu] = [performance.now(), process.cpuUsage()]
    for (let i = 0; i < 3; i++) await (await model.forward(x)).backward()
    const { user, system } = process.cpuUsage(cpu)
    expect((user + system) / 1000).toBeLessThan(1.4 * (performance.now() - start))
    setNumThreads(before)
  })

  it('can change while a call runs', async () => {
    const before = info().threads
    const model = largerModel()
    const pending = [1, 2, 3, 4].map((seed) => {
      const result = model.forward(ids(4, 257, 256))
      setNumThreads(seed)
      return result
    })
    for (const loss of await Promise.all(pending)) expect(loss.item()).toBeGreaterThan(0)
    setNumThreads(before)
  })

  it.each([0, -1, 1.5, 1025, 2 ** 32 + 1, Number.NaN, '2'])('cannot be %s', (count) => {
    expect(() => setNumThreads(count as number)).toThrow(/whole number from 1 to 1024/)
  })

  it.runIf(LINUX)('is the number of processors available to the process, unless set', () => {
    const loads = `console.log(JSON.parse(require(${JSON.stringify(addon())}).info()).threads)`
    const run = (...command: string[]) =>
      Number(
        execFileSync(command[0] as string, [...command.slice(1), process.execPath, '-e', loads]),
      )
    expect(run('taskset', '-c', '0')).toBe(1)
    expect(run('env', 'RAYON_NUM_THREADS=3')).toBe(3)
  })

  it.runIf(LINUX)('includes all threads: no dependency starts more', async () => {
    const layers = new Encoder({ dim: 64, depth: 2, heads: 2, rel_pos_bias: true })
    const model = new ViTransformerWrapper({
      image_size: 128,
      patch_size: 16,
      num_classes: 10,
      attn_layers: layers,
    })
    const output = await model.forward(randn([8, 3, 128, 128]))
    await output.sum().backward()
    tidy(() => {
      const x = rand([400, 300], { requires_grad: true })
      const row = rand([300], { requires_grad: true })
      const y = x
        .add(row)
        .mul(row)
        .sub(row)
        .div(row.add(1))
        .exp()
        .log()
        .tanh()
        .abs()
        .sqrt()
        .neg()
        .maximum(row)
        .pow(2)
      y.logSoftmax(1).add(y.softmax(0)).mean(0).sum().backwardSync()
      noGrad(() =>
        randint(0, 5, [400, 300])
          .mul(tensor([2], { dtype: 'i64' }))
          .add(randint(0, 2, [400, 1])),
      )
    })
    const names = readdirSync('/proc/self/task').map((id) =>
      readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim(),
    )
    expect(names.length).toBeGreaterThan(1)
    expect(names.filter((name) => name.startsWith('candle'))).toEqual([])
  })
})

/** The addon that is loaded here. */
function addon(): string {
  const loaded = Object.keys(createRequire(import.meta.url).cache).find((path) =>
    path.endsWith('.node'),
  )
  if (!loaded) throw new Error('no addon is loaded')
  return loaded
}
