// In Node the library computes on its own threads. In a browser computations block the page;
// x-transformers/worker avoids that.
import { describe, expect, it } from 'vitest'
import { AdamW, clipGradNorm } from 'x-transformers'
import { ids, largerModel } from '../api/helpers.js'

describe('heavy calls', () => {
  it('do not block the event loop during a training step', async () => {
    const model = largerModel()
    const optimizer = new AdamW(model.parameters())
    const batch = ids(8, 257, 256)
    let ticks = 0
    let longest = 0
    let last = performance.now()
    const timer = setInterval(() => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
      ticks++
    }, 2)
    const start = performance.now()
    const loss = await model.forward(batch)
    await loss.backward()
    await clipGradNorm(model.parameters(), 1)
    await optimizer.step()
    clearInterval(timer)
    const seconds = performance.now() - start
    expect(ticks).toBeGreaterThan(5)
    // no part of the step blocked the loop for long
    expect(longest).toBeLessThan(Math.max(100, seconds / 2))
  })
})
