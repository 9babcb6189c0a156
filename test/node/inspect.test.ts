import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { AdamW, Module, ones, type Tensor } from 'x-transformers'
import { smallModel } from '../api/helpers.js'

class Head extends Module {
  weight = ones([2], { requires_grad: true })
  forward(): Tensor {
    return this.weight
  }
}

describe('console.log', () => {
  it('shows a model as a tree, also within an object', () => {
    const model = smallModel()
    expect(inspect(model)).toBe(String(model))
    expect(inspect(model)).toMatch(/^AutoregressiveWrapper\(\n {2}\(net\): TransformerWrapper\(/)
    expect(inspect({ model })).toMatch(
      /^\{\n {2}model: AutoregressiveWrapper\(\n {4}\(net\): TransformerWrapper\(/,
    )
    expect(inspect([new Head()])).toMatch(/Head\(\n\s*weight \[2\]\n/)
  })

  it('shows an optimizer by its groups', () => {
    const optimizer = new AdamW(new Head().parameters(), { lr: 0.5 })
    expect(inspect(optimizer)).toMatch(/^AdamW\(\n {2}1 parameters, \{.*"lr":0.5.*\}\n\)$/)
  })

  it('never fails', () => {
    const model = smallModel()
    model.dispose()
    expect(inspect({ model })).toContain('AutoregressiveWrapper(disposed)')
    class Hidden extends Module {
      #weight = ones([2], { requires_grad: true })
      forward(): Tensor {
        return this.#weight
      }
    }
    expect(inspect(new Hidden())).toMatch(/^Hidden\(.*private/)
  })
})
