import { describe, expect, it } from 'vitest'
import { Encoder, manualSeed, ones, randn, type Tensor, tidy } from 'x-transformers'

// WebAssembly multiplies sizes in 32 bits: these products are 2^32, which overflows to 0.
describe('sizes whose product needs more than 32 bits', () => {
  it('attention over 1,024 positions has the same gradient as the unfused path', async () => {
    manualSeed(1)
    const layers = new Encoder({ dim: 64, depth: 1, heads: 1 })
    const x = randn([1, 1024, 64])
    const weights = ['to_q', 'to_k', 'to_v'].map(
      (name) => layers.namedParameters().get(`layers.0.1.${name}.weight`) as Tensor,
    )
    const gradients = async (return_hiddens: boolean) => {
      const out = return_hiddens
        ? (await layers.forward(x, { return_hiddens: true }))[0]
        : await layers.forward(x)
      await tidy(() => out.mul(out).mean()).backward()
      const grads = weights.map((weight) => Array.from((weight.grad as Tensor).dataSync(), Number))
      for (const weight of layers.parameters()) weight.grad = null
      return grads
    }
    // requesting hidden states computes the whole matrix of scores
    const [fused, plain] = [await gradients(false), await gradients(true)]
    for (const [i, want] of plain.entries()) {
      const most = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
      expect(most).toBeGreaterThan(0)
      const off = want.reduce((m, v, k) => Math.max(m, Math.abs(v - Number(fused[i]?.[k]))), 0)
      expect(off).toBeLessThan(1e-4 * most)
    }
  })

  it('a batch of large products is computed', () => {
    const y = ones([2, 2048, 1024]).matmul(ones([2, 1024, 2048]))
    expect([y.min().item(), y.max().item()]).toEqual([1024, 1024])
  })
})
