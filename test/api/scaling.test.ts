import { beforeAll, describe, expect, it } from 'vitest'
import { Decoder } from 'x-transformers'
import { context, DIM, FEATURES, type Layers, waves } from './features.js'
import { bytesInUse, collect } from './helpers.js'

/** Options that use the whole matrix of scores, which is kept for the gradient. */
const WHOLE = ['residual_attn', 'attn_talking_heads', 'attn_sparse_topk']

/** Skips layers at random, maybe all of them; the other options show the memory. */
const BY_CHANCE = ['layer_dropout']

/**
 * Bytes that a graph over `length` positions keeps: the median, since a thread allocates memory of
 * its own when it computes for the first time.
 */
async function kept(layers: Layers, length: number): Promise<number> {
  const decoder = new Decoder({ dim: DIM, depth: 2, heads: 2, attn_dim_head: 8, ...layers })
  using x = waves([1, length, DIM])
  await collect()
  const sizes: number[] = []
  for (let i = 0; i < 3; i++) {
    const crossed = layers.cross_attend ? { context: context().slice(0, 0, 1) } : {}
    const before = bytesInUse()
    using y = await decoder.forward(x, crossed)
    expect(y.shape).toEqual([1, length, DIM])
    sizes.push(bytesInUse() - before)
  }
  return sizes.sort((a, b) => a - b)[1] as number
}

const grows = async (layers: Layers) => (await kept(layers, 1024)) / (await kept(layers, 512))

describe('the memory of a graph', () => {
  // weights are drawn at the first use, and threads are started
  beforeAll(async () => void (await kept({}, 1024)))

  const linear = Object.entries(FEATURES).filter(
    ([option]) => ![...WHOLE, ...BY_CHANCE].includes(option),
  )
  for (const [option, variants] of linear)
    it(`grows with the length, not with its square: ${option}`, async () => {
      for (const layers of variants) expect(await grows(layers)).toBeLessThan(2.2)
    })

  it.each(WHOLE)('grows with the square of the length where expected: %s', async (option) => {
    for (const layers of FEATURES[option as keyof typeof FEATURES])
      expect(await grows(layers)).toBeGreaterThan(2.5)
  })
})
