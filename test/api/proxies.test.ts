import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  describe as describeModel,
  Module,
  noGrad,
  randn,
  SGD,
  type Tensor,
} from 'x-transformers'
import { ids, numbers, smallNet } from './helpers.js'

class Own extends Module {
  net = smallNet()
  head = randn([11, 2], { requires_grad: true })
  async forward(x: Tensor): Promise<Tensor> {
    if (!this.training) throw new Error('in training')
    return (await this.net.forward(x)).matmul(this.head)
  }
}

/** What a constructor may return instead of the object. */
class Wrapped extends Own {
  read: PropertyKey[] = []
  constructor() {
    super()
    // biome-ignore lint/correctness/noConstructorReturn: this is the case under test
    return new Proxy(this, {
      get(target, key, receiver) {
        target.read.push(key)
        return Reflect.get(target, key, receiver)
      },
    })
  }
}

describe('a Proxy around a model', () => {
  it.each([
    ['around one of a class of one’s own', () => new Proxy(new Own(), {})],
    ['from a constructor', () => new Wrapped()],
    ['around a Proxy', () => new Proxy(new Proxy(new Own(), {}), {})],
  ])('computes, trains, saves and is disposed like the model: %s', async (_, make) => {
    const model = make()
    const names = [...model.stateDict().keys()]
    expect(names).toContain('head')
    expect(names).toContain('net.token_emb.emb.weight')
    const optimizer = new SGD(model.parameters(), { lr: 1 })
    const before = numbers(model.head)
    await (await model.forward(ids(1, 3))).sum().backward()
    await optimizer.step()
    expect(numbers(model.head)).not.toEqual(before)
    expect((await noGrad(() => model.train().forward(ids(1, 3)))).requires_grad).toBe(false)
    const other = make()
    await other.loadWeights(await model.saveBytes())
    expect(numbers(other.head)).toEqual(numbers(model.head))
    expect([model.eval().training, model.net.training, model.quantization]).toEqual([
      false,
      false,
      null,
    ])
    expect(describeModel(model).num_parameters).toBe(model.numParameters)
    expect(String(model)).toContain('(net)')
    model.to('cpu').dispose()
    expect(() => model.parameters()).toThrow(expect.objectContaining({ code: 'disposed' }))
  })

  it('is treated as that model', async () => {
    const net = smallNet()
    const seen = new Proxy(net, {})
    expect((await seen.forward(ids(1, 3))).shape).toEqual([1, 3, 11])
    expect(seen.forwardSync(ids(1, 3)).shape).toEqual([1, 3, 11])
    const [a, b] = [new AutoregressiveWrapper(seen), new AutoregressiveWrapper(net)]
    expect(a.parameters()).toEqual(b.parameters())
    const model = new Proxy(b, {})
    expect((await model.generate([1, 2], 3)).shape).toEqual([3])
    expect(model.generateSync([1, 2], 3, { filter_logits_fn: (logits) => logits }).shape).toEqual([
      3,
    ])
    let tokens = 0
    for await (const _ of model.stream([1, 2], 3)) tokens++
    expect(tokens).toBe(3)
    a.dispose()
    expect((await model.forward(ids(1, 3))).shape).toEqual([])
    model.dispose()
    await expect(net.forward(ids(1, 3))).rejects.toThrow(/disposed with the AutoregressiveWrapper/)
  })

  it('may be the value of a property, and wrap a tensor too', () => {
    class Both extends Module {
      inner = new Proxy(new Own(), {})
      weight = randn([2], { requires_grad: true })
      again = [this.inner, new Proxy(this.weight, {})]
      forward(): Tensor {
        return this.weight
      }
    }
    const model = new Both()
    const shared = new Both()
    shared.inner = model.inner
    shared.again[0] = model.inner
    expect(model.namedParameters().size).toBe(shared.namedParameters().size)
    expect([...model.namedParameters().keys()]).not.toContain('again.1')
    expect([...model.stateDict().keys()]).toContain('again.1')
    model.dispose()
    expect(shared.inner.head.shape).toEqual([11, 2])
  })
})
