// Memory of the whole process; other memory tests are in test/api/memory.test.ts and
// test/browser/memory.test.ts.
import { describe, expect, it } from 'vitest'
import { AdamW, clipGradNorm, Decoder, memory, randn } from 'x-transformers'
import { collect, ids, smallModel } from '../api/helpers.js'
import { slow } from '../slow.js'

const used = () => memory().native_bytes
const MEGABYTE = 2 ** 20
const SLACK = 64 * 1024

describe('the memory of the process', () => {
  it('does not grow over 300 training steps', async () => {
    const model = smallModel()
    const parameters = model.parameters()
    const optimizer = new AdamW(parameters)
    const step = async () => {
      using batch = ids(8, 17)
      using loss = await model.forward(batch)
      await loss.backward()
      await clipGradNorm(parameters, 1)
      await optimizer.step()
      optimizer.zeroGrad()
    }
    const sizes: { rss: number; native: number }[] = []
    for (let i = 1; i <= 300; i++) {
      await step()
      if (i < 100 || i % 20 !== 0) continue
      await collect()
      sizes.push({ rss: process.memoryUsage().rss, native: used() })
    }
    // a leak grows between measurements
    const grown = sizes.slice(1).map(({ native }, i) => native - (sizes[i]?.native ?? 0))
    const median = grown.sort((x, y) => x - y)[Math.floor(grown.length / 2)]
    expect(median).toBeLessThan(8 * 1024)
    expect(sizes.at(-1)?.native).toBeLessThan((sizes[0]?.native ?? 0) + SLACK)
    expect(sizes.at(-1)?.rss).toBeLessThan((sizes[0]?.rss ?? 0) + 16 * MEGABYTE)
  }, 120_000)

  slow.it(
    'is returned to the system after twenty seconds without use',
    async () => {
      const rss = () => process.memoryUsage().rss
      const before = rss()
      const large = randn([5, 5_000_000])
      expect(rss() - before).toBeGreaterThan(90 * MEGABYTE)
      large.dispose()
      await new Promise((resolve) => setTimeout(resolve, 20_200))
      randn([1]).dispose()
      expect(rss() - before).toBeLessThan(30 * MEGABYTE)
    },
    60_000,
  )

  it('never contains a whole matrix of scores during a step', async () => {
    const length = 8192
    const peak = () => process.resourceUsage().maxRSS * 1024
    const decoder = new Decoder({
      dim: 32,
      depth: 1,
      heads: 4,
      attn_dim_head: 8,
      attn_dropout: 0.1,
    })
    const step = async (positions: number) => {
      using x = randn([1, positions, 32])
      using y = await decoder.forward(x)
      using loss = y.sum()
      await loss.backward()
    }
    await step(8)
    const before = peak()
    await step(length)
    // the scores of a single head have that many elements
    expect(peak() - before).toBeLessThan(length * length * 4)
  })
})
