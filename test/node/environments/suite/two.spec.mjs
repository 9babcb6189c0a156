import { expect, it } from 'vitest'
import { AdamW, Decoder, randn } from 'x-transformers'

it('trains in this worker', async () => {
  const model = new Decoder({ dim: 16, depth: 1, heads: 1 })
  const loss = (await model.forward(randn([1, 4, 16]))).sum()
  await loss.backward()
  await new AdamW(model.parameters()).step()
  expect(Number.isFinite(loss.item())).toBe(true)
})
