import { beforeAll, describe, expect, it } from 'vitest'
import { Decoder, manualSeed, memory } from 'x-transformers'
import { context, DIM, FEATURES, type Layers, waves } from './features.js'

/** What sees the whole matrix of scores, which is kept for the gradient. */
const WHOLE = ['residual_attn', 'attn_talking_heads', 'attn_sparse_topk']

/** Bytes that a graph over `length` positions keeps. */
async function kept(layers: Layers, length: number): Promise<number> {
  // the same layers are dropped at each length
  manualSeed(1)
  const decoder = new Decoder({ dim: DIM, depth: 2, heads: 2, attn_dim_head: 8, ...layers })
  const crossed = layers.cross_attend ? { context: context().slice(0, 0, 1) } : {}
  using x = waves([1, length, DIM])
  const before = memory().native_bytes
  using y = await decoder.forward(x, crossed)
  expect(y.shape).toEqual([1, length, DIM])
  return memory().native_bytes - before
}

const grows = async (layers: Layers) => (await kept(layers, 1024)) / (await kept(layers, 512))

describe('the memory of a graph', () => {
  // what threads keep to work with comes once for each
  beforeAll(async () => void (await kept({}, 1024)))

  for (const [option, variants] of Object.entries(FEATURES).filter(([option]) => !WHOLE.includes(option)))
    it(`grows with the length, not with its square: ${option}`, async () => {
      for (const layers of variants) expect(await grows(layers)).toBeLessThan(2.2)
    })

  it.each(WHOLE)('is seen to grow with the square of the length: %s', async (option) => {
    for (const layers of FEATURES[option as keyof typeof FEATURES]) expect(await grows(layers)).toBeGreaterThan(2.5)
  })
})
