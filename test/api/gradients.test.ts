import { describe, expect, it } from 'vitest'
import {
  cat,
  crossEntropy,
  mse,
  noGrad,
  ones,
  randn,
  stack,
  type Tensor,
  tensor,
  where,
} from 'x-transformers'
import { expectClose, numbers, numericGradients, weighted } from './helpers.js'

const f64 = (values: number[], shape: number[]) =>
  tensor(Float64Array.from(values), { shape, requires_grad: true })

// away from 0 and from each other, so that no finite difference crosses a kink
const A = [0.7, -1.2, 0.4, 1.9, -0.3, 0.9]
const B = [1.1, 0.6, -0.8, 0.5, 1.7, -1.4]
const POSITIVE = A.map((a) => Math.abs(a) + 0.2)

const a = () => f64(A, [2, 3])
const b = () => f64(B, [2, 3])
const row = () => f64([0.3, -0.9, 1.3], [3])
const positive = () => f64(POSITIVE, [2, 3])
const index = tensor(
  [
    [0, 2, 1],
    [1, 1, 0],
  ],
  { dtype: 'i64' },
)
const condition = tensor([
  [true, false, true],
  [false, false, true],
])
const labels = tensor([2, 0], { dtype: 'i64' })

const cases: [string, () => Tensor[], (...inputs: Tensor[]) => Tensor][] = [
  ['add', () => [a(), row()], (x, y) => x.add(y)],
  ['sub', () => [row(), a()], (x, y) => x.sub(y)],
  ['mul', () => [a(), row()], (x, y) => x.mul(y)],
  ['div', () => [a(), b()], (x, y) => x.div(y)],
  ['div by a row', () => [a(), row()], (x, y) => x.div(y)],
  ['pow of a number', () => [positive()], (x) => x.pow(2.5)],
  ['pow of a tensor', () => [positive(), b()], (x, y) => x.pow(y)],
  ['maximum', () => [a(), b()], (x, y) => x.maximum(y)],
  ['minimum', () => [a(), row()], (x, y) => x.minimum(y)],
  ['numbers on the right', () => [a()], (x) => x.add(2).mul(3).sub(1).div(4)],
  ['neg', () => [a()], (x) => x.neg()],
  ['exp', () => [a()], (x) => x.exp()],
  ['log', () => [positive()], (x) => x.log()],
  ['sqrt', () => [positive()], (x) => x.sqrt()],
  ['abs', () => [a()], (x) => x.abs()],
  ['tanh', () => [a()], (x) => x.tanh()],
  ['sigmoid', () => [a()], (x) => x.sigmoid()],
  ['relu', () => [a()], (x) => x.relu()],
  ['gelu', () => [a()], (x) => x.gelu()],
  ['silu', () => [a()], (x) => x.silu()],
  ['sum', () => [a()], (x) => x.sum(0)],
  ['mean', () => [a()], (x) => x.mean(-1, { keepdim: true })],
  ['max', () => [a()], (x) => x.max(1)],
  ['min', () => [a()], (x) => x.min(0)],
  ['max of all', () => [a()], (x) => x.max()],
  ['matmul', () => [a(), b()], (x, y) => x.matmul(y.transpose())],
  [
    'batched matmul',
    () => [f64([...A, ...B], [2, 2, 3]), b()],
    (x, y) => x.matmul(y.reshape([3, 2])),
  ],
  ['softmax', () => [a()], (x) => x.softmax(-1)],
  ['softmax of an inner axis', () => [a()], (x) => x.softmax(0)],
  ['logSoftmax', () => [a()], (x) => x.logSoftmax()],
  ['crossEntropy', () => [a()], (x) => crossEntropy(x, labels)],
  [
    'crossEntropy with targets that do not count',
    () => [a()],
    (x) => crossEntropy(x, labels, { ignore_index: 0 }),
  ],
  ['mse', () => [a(), b()], (x, y) => mse(x, y)],
  ['reshape', () => [a()], (x) => x.reshape([3, 2])],
  ['permute', () => [a()], (x) => x.permute([1, 0])],
  ['slice', () => [a()], (x) => x.slice(1, 1, 3)],
  ['cat', () => [a(), row()], (x, y) => cat([x, y.reshape([1, 3]), x])],
  ['stack', () => [a(), b()], (x, y) => stack([x, y], 1)],
  ['gather', () => [a()], (x) => x.gather(1, index)],
  ['where', () => [a(), b()], (x, y) => where(condition, x, y)],
  ['where with a number', () => [a()], (x) => where(condition, 0, x)],
  ['cast', () => [a()], (x) => x.cast('f64')],
  ['a chain that uses an input twice', () => [a()], (x) => x.mul(x).add(x.tanh()).exp()],
]

describe('the gradient equals finite differences', () => {
  it.each(cases)('%s', async (_name, inputs, fn) => {
    const leaves = inputs()
    const loss = weighted(fn(...leaves))
    await loss.backward()
    const want = numericGradients(leaves, (...moved) => weighted(fn(...moved)))
    for (const [i, leaf] of leaves.entries())
      expectClose(numbers(leaf.grad as Tensor), want[i] as number[], 1e-6)
  })

  it('of a broadcast operand has the shape of the operand', () => {
    const x = row()
    a().mul(x).sum().backwardSync()
    expect(x.grad?.shape).toEqual([3])
  })

  it('of ReLU at 0 is 0, as in PyTorch', () => {
    const x = tensor([0, 1], { requires_grad: true })
    x.relu().sum().backwardSync()
    expect(x.grad?.toArray()).toEqual([0, 1])
  })
})

describe('backward', () => {
  it('accumulates, and a gradient can be set and cleared', async () => {
    const x = ones([2], { requires_grad: true })
    await x.mul(3).sum().backward()
    x.mul(3).sum().backwardSync()
    expect(x.grad?.toArray()).toEqual([6, 6])
    x.grad = tensor([1, 2])
    expect(x.grad?.toArray()).toEqual([1, 2])
    expect(() => {
      x.grad = ones([3])
    }).toThrow()
    x.grad = null
    expect(x.grad).toBeNull()
  })

  it('frees the graph, but the loss stays readable', async () => {
    const x = ones([2], { requires_grad: true })
    const loss = x.mul(x).sum()
    await loss.backward()
    expect(loss.item()).toBe(2)
    await expect(loss.backward()).rejects.toThrow(/retain_graph/)
    expect(() => loss.backwardSync()).toThrow(/retain_graph/)
    expect(x.grad?.toArray()).toEqual([2, 2])
  })

  it('keeps the graph with retain_graph', async () => {
    const x = ones([2], { requires_grad: true })
    const loss = x.mul(x).sum()
    await loss.backward({ retain_graph: true })
    await loss.backward()
    expect(x.grad?.toArray()).toEqual([4, 4])
  })

  it('requires one element and a graph', async () => {
    await expect(ones([2], { requires_grad: true }).mul(2).backward()).rejects.toThrow(
      /one element/,
    )
    await expect(ones([1]).backward()).rejects.toMatchObject({ name: 'XTransformersError' })
    const x = ones([1], { requires_grad: true })
    await expect(noGrad(() => x.mul(2)).backward()).rejects.toMatchObject({
      name: 'XTransformersError',
    })
  })

  it('handles a graph of thousands of operations, which can be disposed', async () => {
    const x = ones([1], { requires_grad: true })
    const grow = () => {
      let y: Tensor = x
      for (let i = 0; i < 5000; i++) y = y.add(1)
      return y.sum()
    }
    await grow().backward()
    expect(x.grad?.item()).toBe(1)
    grow().dispose()
  })
})

describe('requires_grad', () => {
  it('propagates to results, but not through detach, noGrad, or comparisons', () => {
    const x = randn([2], { requires_grad: true })
    expect(x.mul(2).requires_grad).toBe(true)
    expect(x.mul(2).detach().requires_grad).toBe(false)
    expect(noGrad(() => x.mul(2)).requires_grad).toBe(false)
    expect(x.gt(0).requires_grad).toBe(false)
    expect(randn([2]).mul(2).requires_grad).toBe(false)
  })

  it('can be set on a leaf', () => {
    const x = ones([2])
    x.requires_grad = true
    x.mul(3).sum().backwardSync()
    expect(x.grad?.toArray()).toEqual([3, 3])
    x.requires_grad = false
    expect(x.mul(3).requires_grad).toBe(false)
    x.requires_grad = true
    expect(x.mul(3).requires_grad).toBe(true)
    const y = ones([2], { requires_grad: true }).mul(2)
    expect(() => {
      y.requires_grad = false
    }).toThrow(/detach/)
  })
})
