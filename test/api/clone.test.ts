import { describe, expect, it } from 'vitest'
import { AdamW, Module, ones, type Tensor } from 'x-transformers'
import { smallModel } from './helpers.js'

class Head extends Module {
  weight = ones([2], { requires_grad: true })
  forward(): Tensor {
    return this.weight
  }
}

describe('structured cloning', () => {
  it.each([
    ['a tensor', () => ones([2])],
    ['a parameter', () => new Head().weight],
    ['a tensor in an object', () => ({ x: [ones([2])] })],
    ['a model', () => smallModel()],
    ['a model of one’s own', () => new Head()],
    ['an optimizer', () => new AdamW(smallModel().parameters())],
  ])('is an error instead of an empty object: %s', (_, make) => {
    expect(() => structuredClone(make())).toThrow(
      expect.objectContaining({ name: 'DataCloneError' }),
    )
    const { port1, port2 } = new MessageChannel()
    expect(() => port1.postMessage(make())).toThrow(
      expect.objectContaining({ name: 'DataCloneError' }),
    )
    port1.close()
    port2.close()
  })

  it('is an error that says what to send instead', () => {
    expect(() => structuredClone(ones([2]))).toThrow(
      /a Tensor cannot be cloned: send its data\(\) and shape/,
    )
    expect(() => structuredClone(smallModel())).toThrow(
      /a model cannot be cloned: send saveBytes\(\)/,
    )
    const model = smallModel()
    expect(JSON.parse(JSON.stringify({ model }))).toEqual({ model: String(model) })
  })

  it('does not affect copies and comparisons', () => {
    const [x, head] = [ones([2]), new Head()]
    expect({ ...x }).toEqual({ ...x })
    expect(x).toEqual(x)
    expect([...head.namedParameters().keys()]).toEqual(['weight'])
  })
})

describe('JSON.stringify', () => {
  it('gives the values of a tensor', () => {
    expect(JSON.stringify({ loss: ones([]), x: ones([1, 2]) })).toBe('{"loss":1,"x":[[1,1]]}')
  })
})
