import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import { type DType, HostTensor, type TensorData, tensor } from 'x-transformers/worker'
import { library } from './helpers.js'

describe('a tensor for a worker', () => {
  const cases: [string, TensorData, { shape?: number[]; dtype?: DType }?][] = [
    [
      'numbers',
      [
        [1, 2.5],
        [3, -4],
      ],
    ],
    ['a number', 5],
    ['booleans', [true, false]],
    ['bigints', [[1n, 2n]]],
    ['numbers as i64', [1, 2, 3], { dtype: 'i64' }],
    ['numbers as f64', [0.1, 0.2], { dtype: 'f64' }],
    ['numbers as f16', [0.5, 2], { dtype: 'f16' }],
    ['numbers as bool', [0, 1], { dtype: 'bool' }],
    ['bytes', new Uint8Array([1, 255])],
    ['bytes as numbers', new Uint8Array([1, 255]), { dtype: 'f32' }],
    ['bytes as f64', new Uint8Array([1, 255]), { dtype: 'f64' }],
    ['whole numbers', new Int32Array([1, -2, 3, 4]), { shape: [2, 2] }],
    ['whole numbers as floats', new Int32Array([1, -2]), { dtype: 'f32' }],
    ['bigints as floats', new BigInt64Array([1n, -2n]), { dtype: 'f32' }],
    ['doubles as floats', new Float64Array([0.1, 2]), { dtype: 'f32' }],
    ['a part of an array', new Float32Array([1, 2, 3, 4]).subarray(1, 3)],
    ['nothing', new Float32Array(0), { shape: [2, 0] }],
  ]
  it.each(cases)('has the values, shape and type of the main library: %s', (_, data, options) => {
    const own = main.tensor(data, options)
    const got = tensor(data, options)
    expect([got.shape, got.dtype, got.data]).toEqual([own.shape, own.dtype, own.dataSync()])
    expect(got.toArray()).toEqual(own.toArray())
  })

  it('is a copy', () => {
    const data = new Float32Array([1, 2])
    const copy = tensor(data)
    data[0] = 5
    expect(copy.toArray()).toEqual([1, 2])
    expect(copy).toBeInstanceOf(HostTensor)
    expect(String(copy)).toBe('HostTensor([2], f32) [1,2]')
    expect(String(tensor(new Float32Array(101)))).toBe('HostTensor([101], f32)')
  })

  it('has an item where it has one element', () => {
    expect(tensor([[7n]]).item()).toBe(7)
    expect(tensor(true).item()).toBe(true)
    expect(() => tensor([1, 2]).item()).toThrow(/item\(\) needs a tensor with one element/)
  })

  it('reports invalid arguments', () => {
    expect(() => tensor([1, 2, 3], { shape: [2] })).toThrow(
      /shape \[2\] has 2 elements, the data 3/,
    )
    expect(() => tensor([1], { shape: [-1] as never })).toThrow(/whole numbers from 0/)
    expect(() => tensor([[1], [1, 2]])).toThrow(/rectangular/)
    expect(() => tensor([1.5], { dtype: 'i64' })).toThrow(/whole numbers/)
    expect(() => tensor([1], { dtype: 'float' as never })).toThrow(/dtype must be one of/)
    expect(() => tensor([1], { requires_grad: true } as never)).toThrow(
      /requires_grad is not an option/,
    )
  })

  it.each(['f32', 'f64', 'f16', 'bf16'] as const)('is transferred as %s', async (dtype) => {
    const x = await library()
    const model = new x.Encoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 })
    const input = tensor(new Float32Array(32).fill(0.5), { shape: [1, 2, 16], dtype })
    if (dtype === 'f32') expect((await model.forward(input)).dtype).toBe('f32')
    else await expect(model.forward(input)).rejects.toMatchObject({ name: 'XTransformersError' })
  })
})
