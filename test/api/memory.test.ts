import { describe, expect, it } from 'vitest'
import {
  Decoder,
  getDefaultDevice,
  memory,
  ones,
  randn,
  type Tensor,
  tidy,
  zeros,
} from 'x-transformers'
import { bytesInUse, collect, nextTask, smallModel } from './helpers.js'

const MEGABYTE = 2 ** 20
/**
 * The count includes every small allocation of the addon, and handles that wait for the garbage
 * collector.
 */
const SLACK = 64 * 1024
const large = () => zeros([MEGABYTE / 4])

describe('native memory', () => {
  it('is freed by dispose', () => {
    const before = bytesInUse()
    const x = large()
    expect(bytesInUse()).toBeGreaterThanOrEqual(before + MEGABYTE)
    x.dispose()
    expect(bytesInUse()).toBeLessThan(before + SLACK)
  })

  it('is freed by using', () => {
    const before = bytesInUse()
    {
      using x = large()
      expect(x.shape).toEqual([MEGABYTE / 4])
    }
    expect(bytesInUse()).toBeLessThan(before + SLACK)
  })

  it('of a graph is freed with its last tensor', () => {
    const x = ones([1000, 100], { requires_grad: true })
    const before = bytesInUse()
    const loss = tidy(() => x.mul(2).exp().tanh().sum())
    expect(bytesInUse()).toBeGreaterThan(before + 100_000)
    loss.dispose()
    expect(bytesInUse()).toBeLessThan(before + SLACK)
    x.dispose()
  })

  it('of a graph is freed by backward', () => {
    const x = ones([1000, 100], { requires_grad: true })
    const loss = tidy(() => x.mul(2).exp().tanh().sum())
    const before = bytesInUse()
    loss.backwardSync()
    // the gradient exists, the graph is freed
    expect(bytesInUse()).toBeLessThan(before)
  })

  it('is freed by the garbage collector as a last resort', async () => {
    await collect()
    const before = bytesInUse()
    for (let i = 0; i < 20; i++) large()
    await collect()
    expect(bytesInUse()).toBeLessThan(before + 2 * MEGABYTE)
  })

  it('is reported to the garbage collector, which runs before it accumulates', async () => {
    await collect()
    const before = bytesInUse()
    let most = 0
    for (let i = 0; i < 400; i++) {
      zeros([2 * MEGABYTE])
      most = Math.max(most, bytesInUse())
      await nextTask()
    }
    // 3,200 MB were allocated without any call of dispose or gc
    expect(most - before).toBeLessThan(1000 * MEGABYTE)
  })
})

describe('tidy', () => {
  it('frees intermediate tensors, and keeps its result', () => {
    let inner: Tensor | undefined
    const kept = tidy(() => {
      inner = ones([2])
      return { list: [inner.add(1)], map: new Map([['x', inner.add(2)]]), number: 5 }
    })
    expect(() => inner?.shape).toThrow(/disposed/)
    expect(kept.list[0]?.toArray()).toEqual([2, 2])
    expect(kept.map.get('x')?.toArray()).toEqual([3, 3])
    expect(kept.number).toBe(5)
  })

  it('does not free tensors from outside', () => {
    const x = ones([2])
    tidy(() => {
      x.add(1)
    })
    expect(x.toArray()).toEqual([1, 1])
  })

  it('nests: results of the inner one belong to the outer one', () => {
    let kept: Tensor | undefined
    tidy(() => {
      kept = tidy(() => ones([2]))
      expect(kept.shape).toEqual([2])
    })
    expect(() => kept?.shape).toThrow(/disposed/)
  })

  it('frees when the function throws', () => {
    let inner: Tensor | undefined
    expect(() =>
      tidy(() => {
        inner = ones([2])
        throw new Error('mine')
      }),
    ).toThrow('mine')
    expect(() => inner?.shape).toThrow(/disposed/)
  })

  it('rejects promises', () => {
    expect(() => tidy(async () => ones([1]))).toThrow(/using/)
  })

  it('does not free the parameters of a model', () => {
    const model = smallModel()
    tidy(() => {
      model.parameters()
    })
    expect(model.parameters()[0]?.shape).toBeDefined()
    expect(randn([1]).shape).toEqual([1])
  })
})

describe('memory of temporary buffers', () => {
  // a GPU has none
  it.skipIf(getDefaultDevice() !== 'cpu')('is counted separately, and reused', async () => {
    const attend = async () => {
      const x = randn([2, 300, 32])
      using y = await decoder.forward(x)
      x.dispose()
      expect(y.shape).toEqual([2, 300, 32])
    }
    const decoder = new Decoder({ dim: 32, depth: 1, heads: 2, attn_dim_head: 16 })
    await attend()
    await collect()
    const before = memory()
    expect(before.kept_bytes).toBeGreaterThan(300 * 16 * 4)
    for (let i = 0; i < 30; i++) await attend()
    await collect()
    const after = memory()
    expect(after.native_bytes).toBeLessThan(before.native_bytes + SLACK)
    // it may be the first work of some threads
    expect(after.kept_bytes).toBeLessThan(20e6 * 8)
  })
})
