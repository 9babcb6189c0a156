// Operations and layers beside PyTorch's: test/python/operations.py has recorded results and
// gradients.
import { describe, expect, it } from 'vitest'
import {
  arange,
  Dropout,
  type DType,
  Embedding,
  FeedForward,
  fullLike,
  LayerNorm,
  Linear,
  type Module,
  ones,
  onesLike,
  RMSNorm,
  randLike,
  randnLike,
  Tensor,
  tensor,
  zeros,
  zerosLike,
} from 'x-transformers'
import { expectThrows } from './helpers.js'

const CLASSES = { Dropout, Embedding, FeedForward, LayerNorm, Linear, RMSNorm }

type Value = number | boolean | string

/** A tensor of PyTorch's. What JSON has no word for is `"NaN"` and `"Infinity"`. */
interface Recorded {
  shape: number[]
  dtype: DType
  values: Value[]
}

interface Case {
  inputs: Recorded[]
  outputs: Recorded[]
  /** Of each input; absent: the result has none. */
  gradients?: (Recorded | null)[]
}

interface OperationCase extends Case {
  method: string
  args: unknown[]
}

interface LayerCase extends Case {
  class: keyof typeof CLASSES
  options: Record<string, unknown>
  state: Record<string, Recorded>
  /** Gradients of the parameters. */
  weights: Record<string, Recorded>
}

interface Recording {
  cases: (OperationCase | LayerCase)[]
}

const recordings = import.meta.glob<Recording>('../python/operations.json', { import: 'default' })
const [read] = Object.values(recordings)
const { cases } = await (read as () => Promise<Recording>)()
const operations = cases.filter((one): one is OperationCase => 'method' in one)
const layers = cases.filter((one): one is LayerCase => 'class' in one)

const TOLERANCE = 2e-6

const made = ({ shape, dtype, values }: Recorded, requires_grad = false) =>
  tensor(values.map(Number), { shape, dtype, requires_grad })

const leaves = (inputs: readonly Recorded[]) =>
  inputs.map((input) => made(input, input.dtype === 'f32'))

/** Whether both are equal, or nearly so, among numbers of this size. */
function near(got: number, want: number, size: number): boolean {
  if (Number.isFinite(want)) return Math.abs(got - want) <= TOLERANCE * size
  return Object.is(got, want)
}

function expectRecorded(got: Tensor, { shape, dtype, values }: Recorded, what: string): void {
  expect({ shape: got.shape, dtype: got.dtype }, what).toEqual({ shape, dtype })
  const [found, wanted] = [Array.from(got.dataSync(), Number), values.map(Number)]
  const size = Math.max(1, ...wanted.filter(Number.isFinite).map(Math.abs))
  const wrong = found.findIndex((x, i) => !near(x, wanted[i] as number, size))
  if (wrong >= 0) expect(found, `${what}, element ${wrong}`).toEqual(wanted)
}

/** One number that depends on each element of the outputs in its own way, as in the script. */
function total(outputs: readonly Tensor[]): Tensor {
  const sums = outputs
    .filter((y) => y.requires_grad)
    .map((y) => {
      const weights = Array.from({ length: y.numel() }, (_, i) => (i % 7) - 2)
      return y.mul(tensor(weights, { shape: y.shape, dtype: y.dtype })).sum()
    })
  return sums.reduce((a, b) => a.add(b))
}

const plain = (value: unknown): unknown =>
  ['NaN', 'Infinity', '-Infinity'].includes(value as string) ? Number(value) : value

/** An argument: `"$1"` is the second input. */
function argument(value: unknown, inputs: readonly Tensor[]): unknown {
  if (typeof value === 'string' && value.startsWith('$')) return inputs[Number(value.slice(1))]
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return plain(value)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
}

function outputsOf(result: unknown): Tensor[] {
  if (result instanceof Tensor) return [result]
  if (Array.isArray(result)) return result
  const { values, indices } = result as { values: Tensor; indices: Tensor }
  return [values, indices]
}

function expectGradients(inputs: readonly Tensor[], { gradients = [] }: Case): void {
  for (const [i, want] of gradients.entries()) {
    const got = (inputs[i] as Tensor).grad
    if (want === null) expect(got).toBeNull()
    else expectRecorded(got as Tensor, want, `the gradient of input ${i}`)
  }
}

type Named = [name: string, one: OperationCase]
const named = operations.map(
  (one, i): Named => [
    `${i}: ${one.method} of ${JSON.stringify(one.inputs.map((x) => x.shape))}, ${JSON.stringify(one.args)}`,
    one,
  ],
)

describe('an operation is that of PyTorch:', () => {
  it.each(named)('%s', async (_, one) => {
    const inputs = leaves(one.inputs)
    const [x] = inputs as [Tensor]
    const call = x[one.method as 'sin'] as (...args: unknown[]) => unknown
    const args = one.args.map((value) => argument(value, inputs))
    const outputs = outputsOf(call.apply(x, args))
    expect(outputs.length).toBe(one.outputs.length)
    for (const [i, want] of one.outputs.entries())
      expectRecorded(outputs[i] as Tensor, want, `output ${i}`)
    if (one.gradients === undefined) return
    await total(outputs).backward()
    expectGradients(inputs, one)
  })

  it('in all of what is recorded', () => {
    expect(operations.length).toBeGreaterThan(200)
    expect(new Set(layers.map((one) => one.class)).size).toBe(6)
  })
})

describe('a layer is that of PyTorch:', () => {
  it.each(
    layers.map((one, i): [string, LayerCase] => [
      `${i}: ${one.class}, ${JSON.stringify(one.options)}`,
      one,
    ]),
  )('%s', async (_, one) => {
    const Class = CLASSES[one.class] as new (options: object) => Module
    const model = new Class(one.options)
    const state = Object.entries(one.state).map(([name, value]) => [name, made(value)] as const)
    expect([...model.stateDict().keys()]).toEqual(state.map(([name]) => name))
    model.loadStateDict(new Map(state))
    if (/dropout/i.test(`${one.class} ${Object.keys(one.options)}`)) model.eval()

    const inputs = leaves(one.inputs)
    const y = (await model.forward(inputs[0])) as Tensor
    expectRecorded(y, one.outputs[0] as Recorded, 'the output')
    await total([y]).backward()
    expectGradients(inputs, one)
    for (const [name, want] of Object.entries(one.weights)) {
      const weight = model.namedParameters().get(name) as Tensor
      expectRecorded(weight.grad as Tensor, want, `the gradient of ${name}`)
    }
  })
})

describe('a tensor like another one', () => {
  const x = ones([2, 3], { dtype: 'f64' })

  it('has its shape, its type and its device', () => {
    const all = [zerosLike(x), onesLike(x), fullLike(x, 7), randLike(x), randnLike(x)]
    for (const y of all) expect([y.shape, y.dtype, y.device]).toEqual([x.shape, x.dtype, x.device])
    const [zero, one, seven, uniform, normal] = all as [Tensor, Tensor, Tensor, Tensor, Tensor]
    expect([zero, one, seven].map((y) => y.sum().item())).toEqual([0, 6, 42])
    expect(uniform.ge(0).all().item() && uniform.lt(1).all().item()).toBe(true)
    expect(normal.std().item()).toBeGreaterThan(0)
  })

  it('has another type, or a gradient, where that is asked for', () => {
    expect(zerosLike(x, { dtype: 'bool' }).toArray()).toEqual([
      [false, false, false],
      [false, false, false],
    ])
    expect(onesLike(x, { requires_grad: true, dtype: undefined }).requires_grad).toBe(true)
    expectThrows(() => randnLike(arange(3)), 'invalid_tensor', 'randn')
    expectThrows(() => zerosLike([1] as never), 'invalid_argument', 'zerosLike')
  })
})

describe('an operation refuses', () => {
  const x = ones([2, 3])

  it.each<[string, () => unknown, string]>([
    ['an axis that is not there', () => x.unsqueeze(3), 'no axis 3'],
    ['axes in the wrong order', () => x.flatten(1, 0), 'comes after'],
    ['to expand what is not 1', () => x.expand([4, 3]), 'cannot be expanded'],
    ['to expand to fewer axes', () => x.expand([3]), 'cannot be expanded'],
    ['a new axis without a length', () => x.expand([-1, 2, 3]), 'cannot be expanded'],
    ['fewer counts than axes', () => x.repeat([2]), 'fewer counts'],
    ['a part of no elements', () => x.split(0), 'at least 1'],
    ['lengths that are not the axis', () => x.split([1, 3], 1), 'not 3 in all'],
    ['a negative length', () => x.split([4, -1], 1), 'no length'],
    ['no parts', () => x.chunk(0), 'at least 1'],
    ['an index out of range', () => x.select(0, 2), 'out of range'],
    ['a part beyond the end', () => x.narrow(1, 2, 2), 'axis 1 has 3'],
    ['more elements than there are', () => x.topk(4), 'has 3 elements'],
    ['one axis twice', () => x.flip([0, -2]), 'more than once'],
    ['a triangle of a vector', () => ones([3]).tril(), 'two axes'],
    ['matrices for an outer product', () => x.outer(x), 'two vectors'],
    ['a clamp of whole numbers at a fraction', () => arange(3).clamp({ min: 0.5 }), 'f32'],
    ['the spread of whole numbers', () => arange(3).std(), 'std needs floating-point'],
    ['the norm of whole numbers', () => arange(3).norm(), 'norm needs floating-point'],
    ['the largest of nothing', () => zeros([0]).norm(0, { p: Infinity }), 'nothing'],
    ['a product of scalars', () => tensor(1).matmul(tensor(2)), 'one axis or more'],
    ['vectors of other lengths', () => ones([3]).matmul(ones([4])), '3'],
  ])('%s', (_, run, message) => expectThrows(run, 'invalid_tensor', message))

  it.each<[string, () => unknown, string]>([
    ['a clamp without limits', () => x.clamp({}), 'min'],
    ['a limit that is no number', () => x.clamp({ min: '0' as never }), 'min'],
    ['a norm that is none', () => x.norm(0, { p: Number.NaN }), 'p'],
    ['a value that is no number', () => x.maskedFill(x.gt(0), '1' as never), 'value'],
  ])('%s', (_, run, message) => expectThrows(run, 'invalid_argument', message))

  it('an option that it does not have', () => {
    expectThrows(() => x.std(0, { correctoin: 0 } as never), 'invalid_options', 'correction')
    expectThrows(() => x.topk(1, 0, { sorted: true } as never), 'invalid_options', 'largest')
  })
})
