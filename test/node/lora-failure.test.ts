import { afterEach, describe, expect, it, vi } from 'vitest'
import { LoRA } from 'x-transformers'
import { native } from '#native'
import { expectThrows, smallModel } from '../api/helpers.js'

afterEach(() => void vi.restoreAllMocks())

const prototype = Object.getPrototypeOf(
  native.construct(
    'Linear',
    JSON.stringify({ in_features: 1, out_features: 1 }),
    [],
    'cpu',
    '{"seed":0,"call":0,"grad":true}',
  ),
) as { mergeLora(modules: string): void }

describe('a merge that fails in the middle', () => {
  it('leaves a model that says what it has, and goes on with the others', () => {
    const model = smallModel()
    const plain = [...model.stateDict().keys()]
    const lora = new LoRA(model, { target_modules: '*.to_*' })
    const all = [...model.stateDict().keys()]
    const merge = prototype.mergeLora
    vi.spyOn(prototype, 'mergeLora').mockImplementationOnce(function (this: object, modules) {
      merge.call(this, JSON.stringify(JSON.parse(modules).slice(0, 1)))
      throw new Error('[out_of_memory] of the test')
    })
    expectThrows(() => lora.merge(), 'internal', 'of the test')
    expect(all.filter((name) => !model.stateDict().has(name))).toEqual([
      `${lora.modules[0]}.lora_A.weight`,
      `${lora.modules[0]}.lora_B.weight`,
    ])
    expect(lora.parameters()).toHaveLength(2 * (lora.modules.length - 1))
    expect(lora.parameters().every((matrix) => matrix.requires_grad)).toBe(true)
    lora.merge()
    expect([...model.stateDict().keys()]).toEqual(plain)
    expect(model.parameters().every((parameter) => parameter.requires_grad)).toBe(true)
  })
})
