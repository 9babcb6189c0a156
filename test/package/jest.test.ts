// The installed package in Jest, whose tests run in a separate realm: with the settings of a new
// project, in both of its environments.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { bin, node, packed } from './packed.js'

let folder: string
beforeAll(async () => {
  folder = (await packed()).native
}, 300_000)

const PROGRAM = `
const { Decoder, info, load, tensor, TransformerWrapper } = require('x-transformers')
const File = globalThis.File ?? require('node:buffer').File
const { spawn, tensor: tensorOfWorker } = require('x-transformers/worker')

const layers = () => new Decoder({ dim: 32, depth: 1, heads: 2, attn_dim_head: 16 })

test('runs a model', async () => {
  expect(info().target).toBe('native')
  const x = tensor([[1, 2, 3]], { dtype: 'i64' })
  expect(x.toArray()).toEqual([[1, 2, 3]])
  const model = new TransformerWrapper({ num_tokens: 16, max_seq_len: 8, attn_layers: layers() })
  const logits = await model.forward(x)
  expect(logits.shape).toEqual([1, 3, 16])
  const loss = logits.mean()
  await loss.backward()
  expect(Number.isFinite(loss.item())).toBe(true)
})

test('takes the typed arrays of the test', () => {
  expect(tensor(new Float32Array([0.5, 2])).toArray()).toEqual([0.5, 2])
})

test('gives its own errors', () => {
  let code = null
  try {
    new Decoder({ dim: 32, depth: 1, dept: 2 })
  } catch (error) {
    code = error.code
  }
  expect(code).toBe('invalid_options')
})

test('loads the Blobs and Files of the environment', async () => {
  const model = new TransformerWrapper({ num_tokens: 16, max_seq_len: 8, attn_layers: layers() })
  const blob = await model.saveBlob()
  for (const source of [blob, new File([blob], 'model.safetensors')]) {
    const loaded = await load(source)
    expect(loaded.parameters()[0].toArray()).toEqual(model.parameters()[0].toArray())
  }
})

test('has the entry for workers', async () => {
  const x = await spawn()
  const model = new x.TransformerWrapper({ num_tokens: 16, max_seq_len: 8, attn_layers: new x.Decoder({ dim: 32, depth: 1 }) })
  const logits = await model.forward(tensorOfWorker([[1, 2, 3]], { dtype: 'i64' }))
  expect(logits.shape).toEqual([1, 3, 16])
  x.terminate()
})
`

it.for(['node', 'jsdom'])(
  'runs the tests of a project in the environment %s',
  async (environment) => {
    const at = join(folder, `jest-${environment}`)
    mkdirSync(at)
    writeFileSync(join(at, 'package.json'), '{ "private": true }')
    writeFileSync(join(at, 'model.test.js'), PROGRAM)
    const testEnvironment = createRequire(import.meta.url).resolve(
      `jest-environment-${environment}`,
    )
    const config = {
      rootDir: at,
      testEnvironment,
      transform: {},
      cacheDirectory: join(at, 'cache'),
    }
    const file = join(at, 'report.json')
    const args = ['--config', JSON.stringify(config), '--runInBand', '--json', '--outputFile', file]
    await node(at, bin('jest'), ...args, '--silent')
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      success: true,
      numPassedTests: 5,
    })
  },
)
