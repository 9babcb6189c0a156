// Checkpoints of the Python package, both ways: with a real Python if `npm run python` has
// installed one. Files recorded in Python are always read: as bytes in test/api/weights.test.ts, as
// files here.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Adafactor,
  Adam,
  AdamW,
  AutoregressiveWrapper,
  ContinuousTransformerWrapper,
  loadTensors,
  loadTensorsSync,
  type Module,
  SGD,
  saveTensors,
  type Tensor,
  type TransformerWrapper,
  tensor,
} from 'x-transformers'
import { pythonPath } from '../../scripts/python.mjs'
import { expectError, expectProgress, type ProgressReport } from '../api/bytes.js'
import { expectRecorded, makeRecorded } from '../api/recorded.js'
import { build, type ModelSpec } from '../parity/build.js'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const recorded = (name: string) => at(`../checkpoints/${name}`)
const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = (name: string) => join(folder, name)

const NAMES = [
  'model.pt',
  'parallel.pt',
  'nested.pt',
  'model.safetensors',
  'sharded.safetensors.index.json',
]

describe('recorded files', () => {
  it.each(NAMES)('are read by path and by file: URL, also synchronously: %s', async (name) => {
    for (const source of [recorded(name), pathToFileURL(recorded(name))]) {
      const told: ProgressReport[] = []
      const model = await makeRecorded()
      await model.loadWeights(source, { on_progress: (progress) => told.push(progress) })
      await expectRecorded(model)
      expect(told.at(-1)?.total).toBe(told.at(-1)?.loaded)
      const second = await makeRecorded()
      second.loadWeightsSync(source)
      await expectRecorded(second)
    }
  })

  it('are read from a server; an index is read with the files beside it', async () => {
    const server = createServer(({ url }, response) =>
      response.end(readFileSync(recorded(decodeURIComponent(url ?? '').slice(1)))),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    try {
      for (const name of NAMES) {
        const model = await makeRecorded()
        await model.loadWeights(new URL(`http://127.0.0.1:${port}/${name}`))
        await expectRecorded(model)
      }
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  })

  it('run no code of a pickle', async () => {
    await expectError(
      loadTensors(recorded('hostile.pt')),
      'invalid_checkpoint',
      /Nothing in the file was executed/,
    )
    expect(() => loadTensorsSync(recorded('hostile.pt'))).toThrow(
      /Nothing in the file was executed/,
    )
    expect(existsSync('pickle-was-executed')).toBe(false)
  })

  it('report a missing file of an index', async () => {
    const index = path('alone.safetensors.index.json')
    symlinkSync(recorded('sharded.safetensors.index.json'), index)
    await expectError(loadTensors(index), 'file', /sharded-00001-of-00002.safetensors/)
    expect(() => loadTensorsSync(index)).toThrow(/sharded-00001-of-00002.safetensors/)
  })
})

interface Output {
  shape: number[]
  data: number[]
}
type Results = Record<string, Record<'f32' | 'f16' | 'bf16', Output>>

const python = pythonPath()

/** Runs the Python program, and returns its results. */
async function runPython<R = Results>(
  command: 'write' | 'read' | 'train' | 'resume',
  result: string,
): Promise<R> {
  await promisify(execFile)(python as string, [at('../python/program.py'), command, folder])
  const { torch, results } = JSON.parse(readFileSync(path(result), 'utf8')) as {
    torch: string
    results: R
  }
  console.log(`PyTorch ${torch}: ${command}`)
  return results
}

function models(): Record<string, Module> {
  const specs: Record<string, ModelSpec> = JSON.parse(
    readFileSync(at('../python/models.json'), 'utf8'),
  )
  return Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, build(spec).eval()]))
}

/** The same numbers as in program.py. */
function inputs(model: Module): Tensor {
  if (model instanceof ContinuousTransformerWrapper) {
    return tensor(
      Array.from({ length: 90 }, (_, i) => (i % 11) / 11),
      { shape: [2, 9, 5] },
    )
  }
  return tensor(
    Array.from({ length: 18 }, (_, i) => (i * 7 + 3) % 37),
    { shape: [2, 9], dtype: 'i64' },
  )
}

async function expectOutput(model: Module, want: Output | undefined, what: string): Promise<void> {
  const got = (await model.forward(inputs(model))) as Tensor
  expect(got.shape, what).toEqual(want?.shape)
  const data = Array.from(await got.data(), Number)
  const scale = Math.max(...data.map(Math.abs), 0.01)
  const worst = Math.max(...data.map((value, i) => Math.abs(value - (want?.data[i] ?? Number.NaN))))
  expect(worst / scale, what).toBeLessThan(1e-4)
}

if (!python) {
  console.log(
    'Python is not asked: it is not set up. `npm run python` does it; or name one with XT_PYTHON.',
  )
} else {
  describe('Python', () => {
    let written: Results
    beforeAll(async () => {
      written = await runPython('write', 'written.json')
    }, 300_000)

    it.each([
      ['pt', null, 'f32'],
      ['parallel.pt', 'module.', 'f32'],
      ['nested.pt', null, 'f32'],
      ['safetensors', null, 'f32'],
      ['safetensors.index.json', null, 'f32'],
      ['bin.index.json', null, 'f32'],
      ['f16.safetensors', null, 'f16'],
      ['bf16.safetensors', null, 'bf16'],
      ['f16.pt', null, 'f16'],
      ['bf16.pt', null, 'bf16'],
    ] as const)(
      'writes files that are loaded here and compute the same: %s',
      async (ending, prefix, dtype) => {
        for (const [name, model] of Object.entries(models())) {
          const told: ProgressReport[] = []
          const file = path(`${name}.${ending}`)
          const result = await model.loadWeights(file, {
            on_progress: (progress) => told.push(progress),
          })
          expect(result).toEqual({ missing: [], unexpected: [], mismatched: [], prefix })
          await expectOutput(model, written[name]?.[dtype], `${name}.${ending}`)
          if (!ending.endsWith('json')) expectProgress(told, readFileSync(file).length)
        }
      },
    )

    it('strictly loads files saved here, and computes the same', async () => {
      const made = models()
      for (const [name, model] of Object.entries(made))
        await model.save(path(`${name}.safetensors`))
      const net = models().wrapper as TransformerWrapper
      const wrapper = new AutoregressiveWrapper(net)
      await saveTensors(wrapper.stateDict(), path('autoregressive.safetensors'))
      const read = await runPython('read', 'read.json')
      for (const [name, model] of Object.entries(made))
        await expectOutput(model, read[name]?.f32, name)
      await expectOutput(net, read.autoregressive?.f32, 'autoregressive')
    }, 300_000)

    it('continues training from here and vice versa, with the state of each optimizer', async () => {
      const losses = await runPython<Record<string, number[]>>('train', 'trained.json')
      const expectLoss = (got: number | undefined, want: number | undefined, what: string) =>
        expect(Math.abs((got ?? Number.NaN) - (want ?? Number.NaN)), what).toBeLessThan(2e-5)
      for (const [name, Class] of Object.entries({ SGD, Adam, AdamW, Adafactor })) {
        const net = models().wrapper as TransformerWrapper
        const model = new AutoregressiveWrapper(net.train())
        const optimizer = new Class(net.parameters(), { lr: 100 })
        await net.loadWeights(path(`run-${name}.pt`))
        await optimizer.load(path(`run-${name}.pt`))
        for (const want of losses[name]?.slice(0, 2) ?? []) {
          const loss = await model.forward(inputs(net))
          optimizer.zeroGrad()
          await loss.backward()
          await optimizer.step()
          expectLoss(loss.item() as number, want, name)
        }
        await net.save(path(`run-${name}.safetensors`))
        await optimizer.save(path(`run-${name}.optimizer.pt`))
      }
      const resumed = await runPython<Record<string, number[]>>('resume', 'resumed.json')
      for (const [name, list] of Object.entries(losses)) {
        for (const i of [0, 1]) expectLoss(resumed[name]?.[i], list[i + 2], name)
      }
    }, 300_000)
  })
}
