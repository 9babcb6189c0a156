import { afterEach, describe, expect, it, vi } from 'vitest'
import { gradNorms } from 'x-transformers/train'
import { native } from '#native'
import { expectClose, ids, numbers, smallModel } from '../api/helpers.js'

afterEach(() => void vi.restoreAllMocks())

describe('gradNorms', () => {
  it('is one call into the native side for all layers', async () => {
    const model = smallModel({ depth: 3 })
    await (await model.forward(ids(2, 9))).backward()
    const calls = [vi.spyOn(native, 'gradNorms'), vi.spyOn(native, 'clipGradNorm')]
    const norms = await gradNorms(model)
    expect(calls.map(({ mock }) => mock.calls.length)).toEqual([1, 0])
    expect(Object.keys(norms).length).toBeGreaterThan(7)
    const layer = 'net.attn_layers.layers.2'
    const own = [...model.namedParameters()].filter(([name]) => name.startsWith(`${layer}.`))
    const all = own.flatMap(([, { grad }]) => (grad ? numbers(grad) : []))
    expectClose([norms[layer] as number], [Math.hypot(...all)], 1e-5)
  })
})
