import { describe, expect, it } from 'vitest'
import {
  arange,
  cat,
  type DType,
  full,
  ones,
  rand,
  randint,
  randn,
  stack,
  Tensor,
  tensor,
  where,
  XTransformersError,
  zeros,
} from 'x-transformers'
import { expectClose, numbers } from './helpers.js'

const error = (code: string, message: RegExp) =>
  expect.objectContaining({
    name: 'XTransformersError',
    code,
    message: expect.stringMatching(message),
  })

const failure = (fn: () => unknown): unknown => {
  try {
    fn()
  } catch (thrown) {
    return thrown
  }
  throw new Error('nothing was thrown')
}

describe('creation', () => {
  it('accepts numbers, nested arrays and typed arrays', () => {
    expect(tensor(3).shape).toEqual([])
    expect(tensor([[1, 2, 3]]).shape).toEqual([1, 3])
    expect(tensor([]).shape).toEqual([0])
    expect(tensor([[], []]).shape).toEqual([2, 0])
    expect(tensor(new Float64Array(6), { shape: [2, 3] }).shape).toEqual([2, 3])
  })

  it('is f32 by default, and uses the type of a typed array, of booleans and of bigints', () => {
    expect(tensor([1, 2]).dtype).toBe('f32')
    expect(tensor([true, false]).dtype).toBe('bool')
    expect(tensor([1n]).dtype).toBe('i64')
    expect(tensor(new BigInt64Array(2)).dtype).toBe('i64')
    expect(tensor(new Int32Array(2)).dtype).toBe('i64')
    expect(tensor(new Uint8Array(2)).dtype).toBe('u8')
    expect(tensor(new Float64Array(2)).dtype).toBe('f64')
    expect(tensor(new BigInt64Array([1n, 2n]), { dtype: 'f32' }).toArray()).toEqual([1, 2])
  })

  it('reads a typed array that is a view of a larger buffer', () => {
    const whole = Float32Array.from([1, 2, 3, 4])
    expect(tensor(whole.subarray(1, 3)).toArray()).toEqual([2, 3])
  })

  it.each<[DType, string]>([
    ['f32', 'Float32Array'],
    ['f16', 'Float32Array'],
    ['bf16', 'Float32Array'],
    ['f64', 'Float64Array'],
    ['i64', 'BigInt64Array'],
    ['u8', 'Uint8Array'],
    ['bool', 'Uint8Array'],
  ])('gives the data of %s as %s', async (dtype, name) => {
    const x = tensor([1, 0, 1], { dtype })
    expect((await x.data()).constructor.name).toBe(name)
    expect(numbers(x)).toEqual([1, 0, 1])
    expect(x.dtype).toBe(dtype)
  })

  it('fills with a value', () => {
    expect(zeros([2]).toArray()).toEqual([0, 0])
    expect(ones([2, 1]).toArray()).toEqual([[1], [1]])
    expect(full([2], 2.5).toArray()).toEqual([2.5, 2.5])
    expect(full([2], Number.NEGATIVE_INFINITY).toArray()).toEqual([
      Number.NEGATIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ])
    expect(zeros([0, 3]).shape).toEqual([0, 3])
  })

  it('counts with arange', () => {
    expect(arange(0, 6, 2).toArray()).toEqual([0, 2, 4])
    expect(arange(0, 3).dtype).toBe('i64')
    expect(arange(3, 0, -1).toArray()).toEqual([3, 2, 1])
    expect(arange(3, 0).toArray()).toEqual([])
    expectClose(numbers(arange(0, 1, 0.25, { dtype: 'f32' })), [0, 0.25, 0.5, 0.75])
  })

  it('draws random numbers in their range', () => {
    const whole = numbers(randint(-2, 3, [1000]))
    expect(new Set(whole)).toEqual(new Set([-2, -1, 0, 1, 2]))
    const uniform = numbers(rand([1000]))
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...uniform)).toBeLessThan(1)
    const normal = numbers(randn([10000]))
    expect(Math.abs(normal.reduce((a, b) => a + b, 0) / normal.length)).toBeLessThan(0.05)
  })

  it('reports invalid arguments', () => {
    const ragged = [[1, 2], [3]]
    expect(failure(() => tensor(ragged))).toEqual(
      error('invalid_tensor', /data\[1\] should be an array of 2/),
    )
    expect(failure(() => tensor([1, [2]]))).toEqual(error('invalid_tensor', /data\[1\]/))
    expect(failure(() => tensor([[1], 2]))).toEqual(
      error('invalid_tensor', /data\[1\] should be an array of 1/),
    )
    expect(failure(() => tensor([1, 'x'] as never))).toEqual(
      error('invalid_argument', /data\[1\] .*"x"/),
    )
    expect(failure(() => tensor([0.5], { dtype: 'i64' }))).toEqual(
      error('invalid_argument', /whole numbers, got 0.5/),
    )
    expect(failure(() => tensor([300], { dtype: 'u8' }))).toEqual(
      error('invalid_argument', /0 to 255, got 300/),
    )
    expect(failure(() => tensor([1, 2, 3], { shape: [2] }))).toEqual(
      error('invalid_tensor', /2 elements, the data 3/),
    )
    expect(failure(() => zeros([-1]))).toEqual(error('invalid_tensor', /whole numbers/))
    expect(failure(() => zeros(3 as never))).toEqual(error('invalid_tensor', /such as \[2, 3\]/))
    expect(failure(() => zeros([1], { dtype: 'int' as never }))).toEqual(
      error('invalid_tensor', /f32, f64/),
    )
    expect(failure(() => zeros([1], { require_grad: true } as never))).toEqual(
      error('invalid_options', /require_grad/),
    )
    expect(failure(() => zeros([1], { device: 'tpu' as never }))).toEqual(
      error('invalid_tensor', /cpu/),
    )
    expect(failure(() => randint(3, 3, [1]))).toEqual(error('invalid_argument', /low < high/))
    expect(failure(() => zeros([1], { dtype: 'i64', requires_grad: true }))).toEqual(
      error('invalid_tensor', /floating/),
    )
    expect(failure(() => new (Tensor as unknown as new (x: unknown) => Tensor)([1]))).toEqual(
      error('invalid_argument', /tensor\(data\)/),
    )
  })
})

describe('arithmetic', () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ])

  it('broadcasts', () => {
    expect(x.add(tensor([10, 20, 30])).toArray()).toEqual([
      [11, 22, 33],
      [14, 25, 36],
    ])
    expect(x.mul(tensor([[1], [2]])).toArray()).toEqual([
      [1, 2, 3],
      [8, 10, 12],
    ])
    expect(
      tensor([[1], [2]])
        .sub(tensor([1, 2]))
        .toArray(),
    ).toEqual([
      [0, -1],
      [1, 0],
    ])
    expect(() => x.add(tensor([1, 2]))).toThrow(XTransformersError)
  })

  it('accepts numbers', () => {
    expect(x.sub(1).toArray()).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ])
    expect(x.div(2).toArray()).toEqual([
      [0.5, 1, 1.5],
      [2, 2.5, 3],
    ])
    expect(x.pow(2).toArray()).toEqual([
      [1, 4, 9],
      [16, 25, 36],
    ])
    expect(x.maximum(3).toArray()).toEqual([
      [3, 3, 3],
      [4, 5, 6],
    ])
    expect(x.minimum(Number.NEGATIVE_INFINITY).toArray()).toEqual(
      full([2, 3], Number.NEGATIVE_INFINITY).toArray(),
    )
  })

  it('compares elements', () => {
    const found = x.gt(2)
    expect(found.dtype).toBe('bool')
    expect(found.toArray()).toEqual([
      [false, false, true],
      [true, true, true],
    ])
    expect(x.eq(x).toArray()).toEqual([
      [true, true, true],
      [true, true, true],
    ])
    expect(found.logicalNot().toArray()).toEqual([
      [true, true, false],
      [false, false, false],
    ])
    expect(where(found, x, 0).toArray()).toEqual([
      [0, 0, 3],
      [4, 5, 6],
    ])
  })

  it('reduces', () => {
    expect(x.sum().item()).toBe(21)
    expect(x.sum(0).toArray()).toEqual([5, 7, 9])
    expect(x.sum(-1, { keepdim: true }).toArray()).toEqual([[6], [15]])
    expect(x.mean([0, 1]).item()).toBe(3.5)
    expect(x.max(1).toArray()).toEqual([3, 6])
    expect(x.min().item()).toBe(1)
    expect(x.argmax(1).toArray()).toEqual([2, 2])
    expect(x.argmax(1).dtype).toBe('i64')
    expect(failure(() => x.sum(2))).toEqual(error('invalid_tensor', /axis 2.*2 axes/))
  })

  it('changes shapes', () => {
    expect(x.reshape([3, -1]).toArray()).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ])
    expect(x.permute([1, 0]).toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ])
    expect(x.transpose().toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ])
    expect(x.slice(1, 1).toArray()).toEqual([
      [2, 3],
      [5, 6],
    ])
    expect(x.slice(-1, -2, -1).toArray()).toEqual([[2], [5]])
    expect(cat([x, x], 1).shape).toEqual([2, 6])
    expect(stack([x, x], -1).shape).toEqual([2, 3, 2])
    expect(
      x
        .gather(
          1,
          tensor(
            [
              [0, 2],
              [1, 1],
            ],
            { dtype: 'i64' },
          ),
        )
        .toArray(),
    ).toEqual([
      [1, 3],
      [5, 5],
    ])
    expect(failure(() => x.reshape([4, -1]))).toEqual(
      error('invalid_tensor', /\[2,3\], 6 elements/),
    )
    expect(failure(() => cat([]))).toEqual(error('invalid_argument', /at least one/))
  })

  it('multiplies matrices', () => {
    expect(x.matmul(x.transpose()).toArray()).toEqual([
      [14, 32],
      [32, 77],
    ])
    expect(ones([5, 2, 3]).matmul(ones([5, 3, 4])).shape).toEqual([5, 2, 4])
    expect(() => x.matmul(x)).toThrow(XTransformersError)
  })

  it('converts types', () => {
    expect(x.to('i64').dtype).toBe('i64')
    expect(x.to('f64').device).toBe(x.device)
    expect(x.cpu().toArray()).toEqual(x.toArray())
    expect(x.cast('bool').toArray()).toEqual([
      [true, true, true],
      [true, true, true],
    ])
  })
})

describe('a tensor', () => {
  it('gives a single element as a number, or a boolean', () => {
    expect(tensor([[5]]).item()).toBe(5)
    expect(tensor([5], { dtype: 'i64' }).item()).toBe(5)
    expect(tensor(true).item()).toBe(true)
    expect(failure(() => tensor([1, 2]).item())).toEqual(error('invalid_tensor', /one element/))
  })

  it('converts to its element for operators, and to text in strings', () => {
    const loss = tensor(1.5) as unknown as number
    expect([loss < 2, loss > 2, +loss, loss * 2]).toEqual([true, false, 1.5, 3])
    // biome-ignore lint/suspicious/noDoubleEquals: this is the case under test
    expect((loss as unknown) == 1.5).toBe(true)
    expect(`${tensor([1, 2], { device: 'cpu' })}`).toBe('Tensor([2], f32) [1,2]')
    expect(() => (tensor([1, 2]) as unknown as number) < 2).toThrow(
      /item\(\) needs a tensor with one element/,
    )
  })

  it('equals only itself', () => {
    expect(tensor([1])).not.toEqual(tensor([2]))
    expect(tensor([1])).not.toEqual(tensor([1]))
    const x = tensor([1])
    expect(x).toEqual(x)
  })

  it('has a readable text form', () => {
    expect(String(tensor([[1, 2]], { device: 'cpu' }))).toBe('Tensor([1, 2], f32) [[1,2]]')
    expect(String(zeros([1000], { device: 'cpu' }))).toBe('Tensor([1000], f32)')
    const x = ones([1])
    x.dispose()
    expect(String(x)).toBe('Tensor(disposed)')
  })

  it('cannot be used after dispose', async () => {
    const x = ones([2])
    x.dispose()
    x.dispose()
    expect(failure(() => x.shape)).toEqual(error('disposed', /disposed/))
    expect(failure(() => x.add(1))).toEqual(error('disposed', /disposed/))
    await expect(async () => x.data()).rejects.toEqual(error('disposed', /disposed/))
  })

  it('is required by name where something else is passed', () => {
    expect(failure(() => ones([1]).add([1] as never))).toEqual(
      error('invalid_argument', /must be a Tensor, got an array/),
    )
    expect(failure(() => ones([1]).add(Promise.resolve(1) as never))).toEqual(
      error('invalid_argument', /await it first/),
    )
  })
})
