// Tensors without elements, such as the last batch of a set whose rows were all filtered out:
// shapes as in PyTorch, losses NaN.
import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  cat,
  Decoder,
  type DType,
  loadTensors,
  saveTensors,
  stack,
  type Tensor,
  TransformerWrapper,
  where,
  XTransformer,
  zeros,
} from 'x-transformers'
import { FakeFile } from './bytes.js'
import { numbers } from './helpers.js'

const TYPES: readonly DType[] = ['f32', 'f64', 'f16', 'bf16', 'i64', 'u8', 'bool']
const FLOATS: readonly DType[] = ['f32', 'f64', 'f16', 'bf16']

/** All but the first column of an empty batch. */
const columns = (dtype: DType) => zeros([0, 3], { dtype }).slice(1, 1, 3)

describe('a slice of an empty batch', () => {
  it.each(TYPES)('can be concatenated, indexed, compared and reduced: %s', (dtype) => {
    const x = columns(dtype)
    expect(cat([x, x]).shape).toEqual([0, 2])
    expect(cat([x, x], 1).shape).toEqual([0, 4])
    expect(stack([x, x], 1).shape).toEqual([0, 2, 2])
    expect(where(x.eq(0), x, x).shape).toEqual([0, 2])
    expect(x.gather(1, zeros([0, 1], { dtype: 'i64' })).shape).toEqual([0, 1])
    expect(x.lt(1).shape).toEqual([0, 2])
    expect(x.sum().item()).toBe(0)
    expect(numbers(x.sum(0))).toEqual([0, 0])
    expect(x.argmax(1).shape).toEqual([0])
    expect(x.permute([1, 0]).reshape([0]).shape).toEqual([0])
    expect(x.toArray()).toEqual([])
    if (dtype !== 'bool') expect(x.pow(2).shape).toEqual([0, 2])
  })

  it.each(FLOATS)('passes through functions and gives an empty gradient: %s', (dtype) => {
    const leaf = zeros([0, 3], { dtype, requires_grad: true })
    const x = leaf.slice(1, 1, 3)
    const y = x.relu().softmax().add(x.gelu()).add(x.logSoftmax()).add(x.exp())
    y.sum().backwardSync()
    expect((leaf.grad as Tensor).shape).toEqual([0, 3])
    expect(x.matmul(zeros([2, 4], { dtype })).shape).toEqual([0, 4])
    expect(x.mean().item()).toBeNaN()
    expect(x.crossEntropy(zeros([0], { dtype: 'i64' })).item()).toBeNaN()
  })

  it('can be saved', async () => {
    const file = new FakeFile()
    await saveTensors(new Map([['x', columns('f32')]]), file)
    expect((await loadTensors(file.content)).tensors.get('x')?.shape).toEqual([0, 2])
  })
})

it('products over nothing are 0, whatever the order of the axes', () => {
  const product = zeros([1, 2, 2, 0]).matmul(zeros([1, 0, 2, 4]).permute([0, 2, 1, 3]))
  expect(product.shape).toEqual([1, 2, 2, 4])
  expect(numbers(product).every((x) => x === 0)).toBe(true)
})

describe('a model', () => {
  const layers = { dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }
  const net = (options: object = {}, own: object = {}) =>
    new TransformerWrapper({
      num_tokens: 11,
      max_seq_len: 8,
      attn_layers: new Decoder({ ...layers, ...own }),
      ...options,
    })
  const ids = (...shape: number[]) => zeros(shape, { dtype: 'i64' })

  it.each([
    {},
    { rotary_xpos: true },
    { alibi_pos_bias: true, attn_talking_heads: true },
    { rel_pos_bias: true, attn_num_mem_kv: 2 },
    { dynamic_pos_bias: true, shift_tokens: 1 },
    { attn_sparse_topk: 2, gate_residual: true },
  ])('has a NaN loss for an empty batch: %j', async (own) => {
    for (const options of [{}, { num_memory_tokens: 2 }]) {
      const model = new AutoregressiveWrapper(net(options, own))
      const loss = await model.forward(ids(0, 3))
      expect(loss.item()).toBeNaN()
      await loss.backward()
      for (const parameter of model.parameters()) {
        // parameters that took part have a gradient of 0: sums over no rows
        if (parameter.grad)
          expect(numbers(parameter.grad).every((x) => x === 0 || Number.isNaN(x))).toBe(true)
      }
    }
  })

  it('with an encoder has no loss either', async () => {
    const half = { num_tokens: 11, max_seq_len: 8, depth: 1, heads: 2 }
    const of = (name: string) =>
      Object.fromEntries(Object.entries(half).map(([key, value]) => [`${name}_${key}`, value]))
    const model = new XTransformer({ dim: 16, ...of('enc'), ...of('dec') } as never)
    expect((await model.forward(ids(0, 3), ids(0, 4))).item()).toBeNaN()
  })

  it.each([{}, { attn_talking_heads: true }, { attn_sparse_topk: 2 }])(
    'accepts an empty context: %j',
    async (own) => {
      const model = new Decoder({ ...layers, ...own, cross_attend: true })
      const y = await model.forward(zeros([1, 3, 16]), { context: zeros([1, 0, 16]) })
      expect(y.shape).toEqual([1, 3, 16])
      expect(numbers(y).every(Number.isFinite)).toBe(true)
    },
  )
})
