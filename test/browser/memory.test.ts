// Memory in a browser: the bytes that the library counts, the memory of WebAssembly (which never
// shrinks), and JavaScript's heap.
import { beforeAll, describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  clipGradNorm,
  Decoder,
  memory,
  noGrad,
  randint,
  TransformerWrapper,
} from 'x-transformers'
import { single } from '../../ts/wasm/single.js'
import { collect } from '../api/helpers.js'
import { slow } from '../slow.js'

const MEGABYTE = 2 ** 20
const MINUTES = 60_000

interface Sizes {
  native: number
  wasm: number
  heap: number
}

/** The sizes after garbage collection. */
async function sizes(): Promise<Sizes> {
  await collect()
  // there is an instance already: this gives its exports
  const { buffer } = single.initSync({} as never).memory
  // only Chromium has it; it includes buffers
  const { usedJSHeapSize } = (performance as unknown as { memory: { usedJSHeapSize: number } })
    .memory
  return { native: memory().native_bytes, wasm: buffer.byteLength, heap: usedJSHeapSize }
}

const tiny = () =>
  new AutoregressiveWrapper(
    new TransformerWrapper({
      num_tokens: 256,
      max_seq_len: 64,
      attn_layers: new Decoder({ dim: 64, depth: 4, heads: 4 }),
    }),
  )

const batch = () => randint(0, 256, [4, 65])

/** Trains for 500 steps; returns the sizes after 100 and after 500. */
async function train({ dispose }: { dispose: boolean }): Promise<[Sizes, Sizes]> {
  const model = tiny()
  const parameters = model.parameters()
  const optimizer = new AdamW(parameters)
  const step = async () => {
    const x = batch()
    const loss = await model.forward(x)
    await loss.backward()
    await clipGradNorm(parameters, 1)
    await optimizer.step()
    optimizer.zeroGrad()
    if (!dispose) return
    x.dispose()
    loss.dispose()
  }
  for (let i = 0; i < 100; i++) await step()
  const early = await sizes()
  for (let i = 100; i < 500; i++) await step()
  return [early, await sizes()]
}

slow.describe('memory over 500 training steps', () => {
  it.each([
    ['that dispose what they make', { dispose: true }],
    ['that dispose nothing', { dispose: false }],
  ])(
    '%s does not grow',
    async (_, settings) => {
      const [early, late] = await train(settings)
      expect(late.wasm).toBe(early.wasm)
      expect(Math.abs(late.native - early.native)).toBeLessThan(16 * 1024)
      expect(late.heap).toBeLessThan(early.heap + 8 * MEGABYTE)
    },
    10 * MINUTES,
  )
})

describe('graphs without a backward', () => {
  let model: AutoregressiveWrapper
  let graph: number
  beforeAll(async () => {
    model = tiny()
    using x = batch()
    noGrad(() => model.forwardSync(x)).dispose()
    await collect()
    const before = memory().native_bytes
    using loss = await model.forward(x)
    expect(loss.shape).toEqual([])
    graph = memory().native_bytes - before
  })

  it('do not accumulate: the garbage collector knows their size', async () => {
    await collect()
    const before = memory().native_bytes
    let most = 0
    const count = 400
    for (let i = 0; i < count; i++) {
      await model.forward(batch())
      most = Math.max(most, memory().native_bytes - before)
    }
    // V8 lets 100 to 700 MB accumulate before it collects, however many graphs there are: the
    // bound is constant, as that of the tensors in test/api/memory.test.ts
    expect(count * graph).toBeGreaterThan(2_000 * MEGABYTE)
    expect(most).toBeLessThan(1_000 * MEGABYTE)
    await collect()
    expect(memory().native_bytes).toBeLessThan(before + MEGABYTE)
  })
})
