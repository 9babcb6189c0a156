import { describe, expect, it } from 'vitest'
import { Decoder, Module, noGrad, ones, randn, SGD, type Tensor, tensor } from 'x-transformers'
import { numbers } from './helpers.js'

const leaf = (...shape: number[]) => randn(shape, { requires_grad: true })

class Linear extends Module {
  weight: Tensor
  constructor(from: number, to: number) {
    super()
    this.weight = leaf(from, to)
  }
  forward(x: Tensor): Tensor {
    return x.matmul(this.weight)
  }
}

class Nested extends Module {
  grid = [[new Linear(2, 3)], [new Linear(3, 2), leaf(1)]]
  named = { first: new Linear(2, 2), deep: { list: [leaf(2)] } }
  map = new Map<string | number, unknown>([
    ['a', new Linear(1, 1)],
    [7, leaf(3)],
  ])
  set = new Set([leaf(4)])
  fixed = ones([2])
  numbers = [
    [1, 2],
    [3, 4],
  ]
  self: unknown[] = [this, { up: this }]
  loop: { again?: unknown; leaf: Tensor } = { leaf: leaf(5) }

  constructor() {
    super()
    this.loop.again = this.loop
  }

  forward(): Tensor {
    return this.named.deep.list[0] as Tensor
  }
}

const NAMES = [
  'grid.0.0.weight',
  'grid.1.0.weight',
  'grid.1.1',
  'named.first.weight',
  'named.deep.list.0',
  'map.a.weight',
  'map.7',
  'set.0',
  'loop.leaf',
]

describe('parameters in containers', () => {
  it('are found, by dotted names', () => {
    const model = new Nested()
    expect([...model.namedParameters().keys()]).toEqual(NAMES)
    expect([...model.stateDict().keys()]).toEqual(NAMES)
    expect(model.numParameters).toBe(6 + 6 + 1 + 4 + 2 + 1 + 3 + 4 + 5)
    expect(String(model)).toContain('(deep.list): 0 [2]')
  })

  it('are trained, saved and loaded', async () => {
    const [a, b] = [new Nested(), new Nested()]
    b.loadStateDict(a.stateDict())
    expect(b.parameters().map(numbers)).toEqual(a.parameters().map(numbers))
    const before = b.parameters().map(numbers)
    const optimizer = new SGD(b.parameters(), { lr: 1 })
    b.parameters()
      .map((p) => p.sum())
      .reduce((x, y) => x.add(y))
      .backwardSync()
    await optimizer.step()
    for (const [i, values] of b.parameters().map(numbers).entries())
      expect(values).not.toEqual(before[i])
    await b.loadWeights(await a.saveBytes())
    expect(b.parameters().map(numbers)).toEqual(before)
  })

  it('follow mode, device and dispose', () => {
    const model = new Nested().eval()
    expect(model.named.first.training).toBe(false)
    expect((model.map.get('a') as Linear).training).toBe(false)
    model.to('cpu')
    model.dispose()
    expect(() => model.loop.leaf.shape).toThrow(/disposed/)
  })

  it('must not have the same name', () => {
    class Twice extends Module {
      a = { b: leaf(1) }
      'a.b' = leaf(2)
      forward(): Tensor {
        return this.a.b
      }
    }
    expect(() => new Twice().stateDict()).toThrow(
      expect.objectContaining({ code: 'invalid_state', message: expect.stringContaining('a.b') }),
    )
  })

  it('may have two names', () => {
    class Tied extends Module {
      a = leaf(2)
      b = [this.a]
      forward(): Tensor {
        return this.a
      }
    }
    expect([...new Tied().stateDict().keys()]).toEqual(['a', 'b.0'])
    expect(new Tied().parameters()).toHaveLength(1)
  })
})

/** Not a Module. */
class Lin {
  w = leaf(2, 2)
}

const names = (model: Module) => [...model.stateDict().keys()]

abstract class Quiet extends Module {
  forward(x: Tensor): Tensor {
    return x
  }
}

describe('parameters in objects of ordinary classes', () => {
  it('are trained and saved under their names', async () => {
    class Model extends Module {
      head = leaf(2)
      lin = new Lin()
      list = [new Lin(), { deep: new Lin() }]
      wrapped = new (class Wrapper {
        layers = new Decoder({ dim: 16, depth: 1 })
      })()
      forward(x: Tensor): Tensor {
        return x.matmul(this.lin.w).mul(this.head)
      }
    }
    const model = new Model()
    expect(names(model).slice(0, 4)).toEqual(['head', 'lin.w', 'list.0.w', 'list.1.deep.w'])
    expect(names(model)).toContain(
      'wrapped.layers.final_norm.weight'.replace('final_norm', 'layers.0.0.0'),
    )
    const before = numbers(model.lin.w)
    const optimizer = new SGD(model.parameters(), { lr: 1 })
    await model
      .forward(ones([1, 2]))
      .sum()
      .backward()
    await optimizer.step()
    expect(numbers(model.lin.w)).not.toEqual(before)
    const other = new Model()
    await other.loadWeights(await model.saveBytes())
    expect(numbers(other.lin.w)).toEqual(numbers(model.lin.w))
    model.eval()
    expect(model.wrapped.layers.training).toBe(false)
  })

  it('are found under symbols, unlisted properties, prototypes, and in extended containers', () => {
    const key = Symbol('scale')
    class List extends Array<unknown> {
      scale = leaf(1)
    }
    class Store extends Map<string, unknown> {
      scale = leaf(1)
    }
    class Tagged extends Lin {
      get [Symbol.toStringTag]() {
        return 'Tagged'
      }
    }
    class Model extends Quiet {
      [key] = leaf(1)
      made = Object.create({ base: leaf(1) }, { own: { value: leaf(1) } })
      bare = Object.assign(Object.create(null), { w: leaf(1) })
      list = List.from<unknown>([new Lin(), 1])
      store = new Store([['a', new Lin()]])
      tagged = new Tagged()
      constructor() {
        super()
        Object.defineProperty(this, 'unlisted', { value: leaf(1) })
      }
    }
    const found = [
      'made.own',
      'made.base',
      'bare.w',
      'list.0.w',
      'list.scale',
      'store.a.w',
      'store.scale',
      'tagged.w',
    ]
    expect(names(new Model())).toEqual([...found, 'unlisted', 'Symbol(scale)'])
  })

  it('have all the names that lead to them; cycles end, also in a graph of objects', () => {
    class Node {
      near: Node[] = []
      parent: object | null = null
      lin: Lin | null = null
    }
    class Model extends Quiet {
      a = new Lin()
      b = this.a
      nodes = Array.from({ length: 200 }, () => new Node())
      constructor() {
        super()
        for (const node of this.nodes) {
          node.near = [...this.nodes]
          node.parent = this
        }
        ;(this.nodes[7] as Node).lin = this.a
      }
    }
    expect(names(new Model())).toEqual(expect.arrayContaining(['a.w', 'b.w', 'nodes.7.lin.w']))
    expect(new Model().parameters()).toHaveLength(1)
  })

  it('are found in long chains, and too deep ones are reported', () => {
    class Link {
      next: Link | Lin | null = null
    }
    const chain = (length: number, end: Link['next']) => {
      let first = new Link()
      first.next = end
      for (let i = 1; i < length; i++) first = Object.assign(new Link(), { next: first })
      return first
    }
    class Model extends Quiet {
      constructor(readonly chain: Link) {
        super()
      }
    }
    expect(names(new Model(chain(100, new Lin())))).toEqual([`chain.${'next.'.repeat(100)}w`])
    expect(names(new Model(chain(20_000, null)))).toEqual([])
    expect(() => names(new Model(chain(20_000, new Lin())))).toThrow(
      expect.objectContaining({
        code: 'invalid_state',
        message: expect.stringMatching(/^a part of Model is more than 256 .*next/),
      }),
    )
  })

  it('are not searched in built-ins, in optimizers, and behind getters of classes', () => {
    let runs = 0
    class Lazy {
      get w() {
        runs++
        return leaf(1)
      }
    }
    const frozen = leaf(2)
    const { proxy, revoke } = Proxy.revocable({}, {})
    class Model extends Quiet {
      w = leaf(1)
      lazy = new Lazy()
      own = Object.defineProperty(new (class Own {})(), 'w', {
        enumerable: true,
        get: () => runs++,
      })
      optimizer = new SGD([frozen], { lr: 1 })
      date = Object.assign(new Date(), { frozen })
      promise = Object.assign(Promise.resolve(), { frozen })
      revoked = proxy
      global = globalThis
    }
    revoke()
    expect(names(new Model())).toEqual(['w'])
    expect(runs).toBe(0)
  })

  it('in shared objects are visited once per search, and for each model that has them', () => {
    class Child extends Quiet {
      constructor(
        readonly config: object,
        readonly parts: object,
      ) {
        super()
      }
    }
    class Config {
      more = { numbers: [1, 2, 3] }
    }
    class Model extends Quiet {
      config = new Config()
      lin = new Lin()
      around = Object.assign(new Config(), { lin: this.lin })
      children = [new Child(this.config, this.around), new Child(this.config, this.around)]
    }
    const want = ['lin.w', 'around.lin.w', 'children.0.parts.lin.w', 'children.1.parts.lin.w']
    expect(names(new Model())).toEqual(want)
  })
})

const HIDDEN = (what: RegExp) =>
  expect.objectContaining({ code: 'invalid_state', message: expect.stringMatching(what) })

describe('unreachable parameters', () => {
  it('are reported at the first use: a tensor in a private field', () => {
    class Hidden extends Module {
      seen = leaf(2)
      #weight = leaf(16, 2)
      forward(): Tensor {
        return this.#weight
      }
    }
    const says = HIDDEN(
      /^Hidden has made a parameter of shape \[16, 2\] where nobody can see it.*#private.*public/,
    )
    for (const use of ['parameters', 'namedParameters', 'stateDict'] as const)
      expect(() => new Hidden()[use]()).toThrow(says)
    expect(() => new Hidden().numParameters).toThrow(says)
    expect(() => new Hidden().saveBytesSync()).toThrow(says)
    expect(new Hidden().forward().shape).toEqual([16, 2])
  })

  it('are reported: a model in a private field, one of a part, and of an extended class', () => {
    class Model extends Module {
      #layers = new Decoder({ dim: 16, depth: 1 })
      forward(x: Tensor): Promise<Tensor> {
        return this.#layers.forward(x)
      }
    }
    class Outer extends Module {
      inner = new Model()
      forward(x: Tensor): Promise<Tensor> {
        return this.inner.forward(x)
      }
    }
    class Child extends Model {
      weight = leaf(1)
    }
    for (const Class of [Model, Outer])
      expect(() => new Class().parameters()).toThrow(HIDDEN(/^Model has made a Decoder/))
    expect(() => new Child().parameters()).toThrow(HIDDEN(/^Child has made a Decoder/))
  })

  it('are not reported if a property leads to them, or nothing needs them', () => {
    class Fine extends Module {
      #scale = 2
      #mask = tensor([1, 0])
      layers = new Decoder({ dim: 16, depth: 1 })
      list = [leaf(2)]
      #same = this.list
      constructor() {
        super()
        leaf(9).dispose()
      }
      forward(): Tensor {
        return (this.#same[0] as Tensor).mul(this.#scale).mul(this.#mask)
      }
    }
    const model = new Fine()
    expect(new Fine().parameters().length).toBeGreaterThan(1)
    const after = leaf(3)
    const other = new Decoder({ dim: 16, depth: 1 })
    expect(model.parameters().length).toBeGreaterThan(1)
    expect([after.shape, other.training]).toEqual([[3], true])
    expect(model.forward().toArray()).toHaveLength(2)
  })
})

describe('unreachable parameters made in other ways', () => {
  class Makes extends Module {
    seen = leaf(2)
    #w = this.#make(12)
    #make(depth: number): Tensor {
      return depth === 0 ? leaf(16, 2) : this.#make(depth - 1)
    }
    forward(): Tensor {
      return this.#w.mul(2)
    }
  }
  const anonymous = () =>
    new (class extends Module {
      #w = leaf(16, 2)
      forward(): Tensor {
        return this.#w.mul(2)
      }
    })()
  const says = HIDDEN(/has made a parameter of shape \[16, 2\] where nobody can see it/)

  it('are reported at the first use: a few calls deep, in a class without a name', () => {
    expect(() => new Makes().parameters()).toThrow(says)
    expect(() => anonymous().parameters()).toThrow(says)
  })

  it('are reported whatever the program does to stack traces', () => {
    const settings = Error as { stackTraceLimit?: number; prepareStackTrace?: unknown }
    const [limit, prepare] = [settings.stackTraceLimit, settings.prepareStackTrace]
    const models: Module[] = []
    try {
      settings.stackTraceLimit = 0
      models.push(new Makes())
      expect(settings.stackTraceLimit).toBe(0)
      settings.stackTraceLimit = 5
      const own = () => 'nothing'
      settings.prepareStackTrace = own
      models.push(new Makes())
      expect([settings.stackTraceLimit, settings.prepareStackTrace]).toEqual([5, own])
    } finally {
      settings.stackTraceLimit = limit as number
      settings.prepareStackTrace = prepare
    }
    expect(settings.stackTraceLimit).toBe(limit)
    for (const model of models) expect(() => model.parameters()).toThrow(says)
  })
})

describe('unreachable weights in the graph of a forward', () => {
  class Given extends Module {
    seen = leaf(2)
    #w: Tensor | Decoder
    constructor(w: Tensor | Decoder) {
      super()
      this.#w = w
    }
    async forward(x: Tensor): Promise<{ loss: Tensor }> {
      const y = this.#w instanceof Decoder ? await this.#w.forward(x) : x.matmul(this.#w)
      return { loss: y.sum().add(this.seen.sum()) }
    }
  }
  class Inner {
    #w = leaf(2, 2)
    of(x: Tensor): Tensor {
      return x.matmul(this.#w)
    }
  }
  class Holds extends Module {
    inner = new Inner()
    #late: Tensor | null = null
    forward(x: Tensor): Tensor {
      this.#late ??= leaf(2, 2)
      return x.matmul(this.#late)
    }
    again = (x: Tensor) => this.inner.of(x)
  }
  class Field extends Module {
    inner = new Inner()
    forward = (x: Tensor) => this.inner.of(x)
  }
  const x = ones([1, 2])
  const told = (name: string, what: string) =>
    HIDDEN(
      new RegExp(
        `^${name} computes with ${what} that none of its properties leads to.*public property`,
      ),
    )

  it('are reported: given to the constructor, made in a method, in an object of another class', async () => {
    await expect(new Given(leaf(2, 2)).forward(x)).rejects.toThrow(
      told('Given', 'a parameter of shape \\[2, 2\\]'),
    )
    const layers = new Decoder({ dim: 16, depth: 1 })
    await expect(new Given(layers).forward(ones([1, 3, 16]))).rejects.toThrow(
      told('Given', 'a Decoder'),
    )
    expect(() => new Holds().forward(x)).toThrow(told('Holds', 'a parameter of shape \\[2, 2\\]'))
    const field = new Field()
    field.parameters()
    expect(() => field.forward(x)).toThrow(told('Field', 'a parameter of shape \\[2, 2\\]'))
  })

  it('are reported also after valid forwards', () => {
    class Later extends Module {
      w = leaf(2, 2)
      forward(x: Tensor): Tensor {
        return x.matmul(this.w)
      }
    }
    const model = new Later()
    const hidden = leaf(2, 2)
    expect(model.forward(x).requires_grad).toBe(true)
    const before = model.forward
    model.forward = (x) => x.matmul(hidden)
    model.parameters()
    expect(() => model.forward(x)).toThrow(told('Later', 'a parameter of shape \\[2, 2\\]'))
    model.forward = before
    expect(model.forward(x).requires_grad).toBe(true)
  })

  it('are not reported if a caller, an optimizer or another model has them, or nothing trains', async () => {
    const trained = leaf(2, 2)
    new SGD([trained], { lr: 1 })
    await new Given(trained).forward(x)
    const shared = leaf(2, 2)
    class Parent extends Module {
      w = shared
      child = new Given(this.w)
      forward(x: Tensor): Promise<{ loss: Tensor }> {
        return this.child.forward(x)
      }
    }
    await new Parent().forward(x)
    await new Parent().child.forward(x)
    const frozen = leaf(2, 2)
    frozen.requires_grad = false
    await new Given(frozen).forward(x)
    await noGrad(() => new Given(leaf(2, 2)).forward(x))
    class Plain extends Module {
      w = leaf(2, 2)
      forward(x: Tensor): [Tensor, Tensor] {
        const input = x.detach()
        input.requires_grad = true
        return [input.matmul(this.w), input]
      }
    }
    const y = leaf(1, 2)
    expect(new Plain().forward(y)[0].requires_grad).toBe(true)
    const model = new Plain()
    expect(model.forward(y.mul(2).add(leaf(1, 2)))[0].requires_grad).toBe(true)
  })

  it('do not affect the method, its this and its arguments', async () => {
    class Plain extends Module {
      w = leaf(2, 2)
      forward(x: Tensor, ..._: unknown[]): Tensor {
        if (this !== model) throw new Error('another this')
        return x.matmul(this.w)
      }
    }
    const own = Plain.prototype.forward
    const model = new Plain()
    expect(Plain.prototype.forward).toBe(own)
    expect(Object.keys(model)).not.toContain('forward')
    expect(model.forward(x, 1, 2).requires_grad).toBe(true)
    expect(() => model.forward.call({} as Plain, x)).toThrow('another this')
  })
})
