// WebAssembly has at most 4 GiB. What cannot fit is an error before it starts, and nothing else is
// affected.
import { afterEach, beforeAll, expect, it, describe as suite } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  arange,
  Decoder,
  describe,
  full,
  load,
  loadSync,
  loadTensors,
  ones,
  rand,
  randint,
  randn,
  SGD,
  TransformerWrapper,
  tensor,
  zeros,
} from 'x-transformers'
import { endless } from '../api/bytes.js'
import { smallModel } from '../api/helpers.js'
import { Bystander, expectRefused } from './refused.js'

const GIB = 2 ** 30

const giantLayers = () => new Decoder({ dim: 12288, depth: 96, heads: 96, attn_dim_head: 128 })
const giant = () =>
  new AutoregressiveWrapper(
    new TransformerWrapper({ num_tokens: 256, max_seq_len: 64, attn_layers: giantLayers() }),
  )
const prompt = () => ones([1, 4], { dtype: 'i64' })
/** The weights alone would fit: 1.25 GiB. */
const large = () => new Decoder({ dim: 2048, depth: 8, heads: 16 })

let bystander: Bystander
beforeAll(async () => {
  bystander = await Bystander.make()
})
afterEach(() => bystander.expectWell())

suite('a model that is too large', () => {
  const bytes = describe(giantLayers()).bytes / GIB

  it('can be described', () => {
    const model = giant()
    expect(describe(model).num_parameters).toBeGreaterThan(170e9)
    expect(String(model)).toMatch(/^AutoregressiveWrapper\(/)
    expect(model.parameters().length).toBeGreaterThan(500)
    expect(model.eval().train().training).toBe(true)
  })

  it('is rejected by forward', async () => {
    const x = ones([1, 4, 12288])
    await expectRefused(() => giantLayers().forward(x), bytes, 2 * bytes)
    await expectRefused(() => giantLayers().forwardSync(x), bytes, 2 * bytes)
    await expectRefused(() => giant().forward(prompt()), bytes, 2 * bytes)
  })

  it('is rejected by generate and stream', async () => {
    await expectRefused(() => giant().generate(prompt(), 3), bytes, 2 * bytes)
    await expectRefused(() => giant().generateSync(prompt(), 3), bytes, 2 * bytes)
    await expectRefused(
      async () => {
        for await (const token of giant().stream(prompt(), 3)) expect.fail(`a token came: ${token}`)
      },
      bytes,
      2 * bytes,
    )
  })

  it('cannot be saved', async () => {
    await expectRefused(() => giant().saveBytes(), bytes)
    await expectRefused(() => giant().saveBytesSync(), bytes)
  })
})

suite('training that is too large', () => {
  it('is rejected by the optimizer', async () => {
    const bytes = describe(large()).bytes / GIB
    expect(bytes).toBeLessThan(2)
    await expectRefused(() => new AdamW(large().parameters()), 4 * bytes, 10 * bytes)
    await expectRefused(() => new AdamW(giant().parameters()), 4 * bytes)
    await expectRefused(() => new SGD(giant().parameters()), 2 * bytes)
  })
})

suite('a tensor that is too large', () => {
  it.each<[string, () => unknown]>([
    ['zeros', () => zeros([5 * 2 ** 28])],
    ['ones', () => ones([5, 2 ** 28])],
    ['full', () => full([5 * 2 ** 28], 1)],
    ['rand', () => rand([5 * 2 ** 28])],
    ['randn', () => randn([5 * 2 ** 28])],
    ['randint', () => randint(0, 9, [5 * 2 ** 27])],
    ['arange', () => arange(0, 5 * 2 ** 27)],
  ])('is rejected by %s', async (_, make) => {
    await expectRefused(make, 5, 20)
  })

  it('may have more elements than the address space', async () => {
    await expectRefused(() => zeros([2 ** 16, 2 ** 16]), 16, 64)
    await expectRefused(() => zeros([2 ** 32]), 16, 64)
    await expectRefused(() => zeros([5 * GIB], { dtype: 'u8' }), 5, 80)
    await expectRefused(() => zeros([2 ** 50]), 4 * 2 ** 20)
  })

  it('is rejected if its data come from JavaScript', async () => {
    // untouched bytes take no physical memory
    const data = new Uint8Array(3 * GIB)
    await expectRefused(() => tensor(data, { dtype: 'u8' }), 3, 13)
  })

  it('is rejected as the result of an operation', async () => {
    const [column, row] = [ones([40_000, 1]), ones([1, 40_000])]
    const bytes = (40_000 * 40_000 * 4) / GIB
    await expectRefused(() => column.add(row), bytes, 2 * bytes)
    await expectRefused(() => column.gt(row), bytes / 4, 2 * bytes)
    await expectRefused(() => column.matmul(row), bytes, 2 * bytes)
  })
})

suite('a file that is too large', () => {
  /** The start of a safetensors file with one half precision tensor of `values` elements. */
  function startOf(values: number): Uint8Array {
    const text = JSON.stringify({
      x: { dtype: 'F16', shape: [values], data_offsets: [0, 2 * values] },
    })
    const json = new TextEncoder().encode(text)
    const start = new Uint8Array(8 + json.length)
    new DataView(start.buffer).setBigUint64(0, BigInt(json.length), true)
    start.set(json, 8)
    return start
  }

  it('is rejected once its header was read', async () => {
    const { stream } = endless(startOf(2.5 * GIB))
    await expectRefused(() => loadTensors(stream), 5, 6)
    const weights = endless(startOf(1.5 * GIB))
    await expectRefused(() => smallModel().loadWeights(weights.stream), 6, 7)
    // untouched bytes take no physical memory
    const bytes = new Uint8Array(3 * GIB)
    const values = (bytes.length - startOf(1.5 * GIB).length - 100) / 2
    const start = startOf(Math.floor(values))
    bytes.set(start)
    const whole = bytes.subarray(0, start.length + 2 * Math.floor(values))
    await expectRefused(() => load(whole), 5.9, 6.1)
    await expectRefused(() => loadSync(whole), 5.9, 6.1)
  })
})
