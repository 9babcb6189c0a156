import { describe, expect, it } from 'vitest'
import { cat, type Ids, Module, noGrad, ones, type Tensor } from 'x-transformers'
import { ids, smallModel, smallNet } from './helpers.js'

const w = ones([2], { requires_grad: true })

class Scaled extends Module {
  inner = smallNet()
  head = ones([11, 2], { requires_grad: true })

  async forward(x: Ids): Promise<Tensor> {
    const logits = await this.inner.forward(x)
    await new Promise((resolve) => setTimeout(resolve))
    const twice = cat([logits.detach(), logits], 1)
    return await Promise.resolve(twice.matmul(this.head).exp())
  }
}

class Dual extends Module {
  a = smallNet()
  b = smallNet()
  head = ones([11, 2], { requires_grad: true })
  #after = () => new Promise((resolve) => setTimeout(resolve, 2))

  async forward(x: Ids): Promise<[Tensor, Tensor, Tensor]> {
    const p = await this.a.forward(x)
    await this.#after()
    const q = await this.b.forward(x)
    await this.#after()
    return [p, q, this.head.mul(2)]
  }
}

class Around extends Module {
  inner = new Dual()
  async forward(x: Ids): Promise<Tensor[]> {
    await null
    return [...(await this.inner.forward(x)), ...(await this.inner.forward(x))]
  }
}

const graphs = (tensors: Tensor[]) => tensors.map((x) => x.requires_grad)

describe('noGrad around custom models', () => {
  it('applies to all forwards that they await', async () => {
    const dual = new Dual()
    expect(graphs(await noGrad(() => dual.forward([[1, 2]])))).toEqual([false, false, false])
    expect(graphs(await dual.forward([[1, 2]]))).toEqual([true, true, true])
    expect(graphs(await noGrad(() => new Around().forward([[1, 2]])))).toEqual(Array(6).fill(false))
    const [first, second] = await noGrad(() =>
      Promise.all([dual.forward([[1, 2]]), new Around().forward([[1]])]),
    )
    expect(graphs([...first, ...second])).toEqual(Array(9).fill(false))
    await expect(noGrad(() => dual.forward([[99]]))).rejects.toThrow(/99/)
    expect(graphs(await dual.forward([[1, 2]]))).toEqual([true, true, true])
  })

  it('allows quantized ones', async () => {
    // quantized weights are on the CPU
    const dual = new Dual().cpu()
    dual.quantize('bf16')
    expect(graphs(await noGrad(() => dual.forward([[1, 2]])))).toEqual([false, false, false])
  })

  it('does not affect other models that train meanwhile', async () => {
    const [teacher, student] = [new Dual(), new Dual()]
    const results = [noGrad(() => teacher.forward([[1, 2]])), student.forward([[1, 2]])]
    const other = smallModel()
    await new Promise((resolve) => setTimeout(resolve))
    const loss = await other.forward(ids(1, 4))
    expect(loss.mul(2).requires_grad).toBe(true)
    const [quiet, training] = (await Promise.all(results)) as unknown as [Tensor[], Tensor[]]
    expect([graphs(quiet), graphs(training)]).toEqual([Array(3).fill(false), Array(3).fill(true)])
  })
})

describe('noGrad', () => {
  it('applies to the async forward of a custom Module, and ends with it', async () => {
    const model = new Scaled()
    const [pending, training] = [noGrad(() => model.forward([[1, 2]])), model.forward([[1, 2]])]
    const y = await pending
    expect(y.requires_grad).toBe(false)
    expect((await training).requires_grad).toBe(true)
    expect((await model.forward([[1, 2]])).requires_grad).toBe(true)
    // from here on it is a value like others
    expect(y.mean(1).matmul(ones([2, 2], { requires_grad: true })).requires_grad).toBe(true)
    const failing = noGrad(() => model.forward([[99]]))
    await expect(failing).rejects.toThrow(/99/)
    expect(noGrad(() => w.mul(2)).mul(w).requires_grad).toBe(true)
  })

  it('applies to everything started in it, also in a promise of the library', async () => {
    const model = smallModel()
    expect((await noGrad(() => model.forward(ids(1, 4)))).requires_grad).toBe(false)
    const two = await noGrad(() =>
      Promise.all([model.forward(ids(1, 4)), model.net.forward(ids(1, 4))]),
    )
    expect(two.map((x) => x.requires_grad)).toEqual([false, false])
    expect(noGrad(() => w.mul(2)).requires_grad).toBe(false)
    expect(w.mul(2).requires_grad).toBe(true)
  })

  it.each([
    ['an async arrow', async () => w.mul(2)],
    [
      'an async function',
      async function later() {
        return w.mul(2)
      },
    ],
    ['an async method', { async run() {} }.run],
    [
      'a generator',
      function* () {
        yield w.mul(2)
      },
    ],
    [
      'an async generator',
      async function* () {
        yield w.mul(2)
      },
    ],
    // as TypeScript, esbuild and Babel compile them for older engines
    [
      'for ES2015',
      new Function(
        '__awaiter',
        'return () => __awaiter(void 0, void 0, void 0, function* () {})',
      )(),
    ],
    [
      'for ES5',
      new Function('tslib', 'return function () { return tslib.__awaiter(this, void 0) }')(),
    ],
    [
      'for ES2017, with helpers',
      new Function(
        'tslib_1',
        'return () => (0, tslib_1.__awaiter)(void 0, void 0, void 0, function* () {})',
      )(),
    ],
    [
      'for ES5, with this',
      new Function(
        '__awaiter',
        'return function () { var _this = this; return __awaiter(_this, void 0) }',
      )(),
    ],
    ['by esbuild', new Function('__async', 'return () => __async(null, null, function* () {})')()],
    ['by Babel', new Function('return function () { asyncGeneratorStep() }')()],
  ] as [string, () => unknown][])('refuses %s, and runs nothing of it', (_, fn) => {
    expect(() => noGrad(fn)).toThrow(
      expect.objectContaining({
        code: 'invalid_argument',
        message: expect.stringContaining('around each call'),
      }),
    )
    expect(w.mul(2).requires_grad).toBe(true)
  })

  it('accepts functions that contain async ones', () => {
    const fn = new Function(
      '__awaiter',
      'return () => { const later = () => __awaiter(); return typeof later }',
    )()
    expect(noGrad(fn)).toBe('function')
  })
})
