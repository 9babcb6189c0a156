import { describe, expect, it } from 'vitest'
import {
  cudaInfo,
  cudaIsAvailable,
  Decoder,
  Encoder,
  ones,
  TransformerWrapper,
  tensor,
  XTransformersError,
} from 'x-transformers'
import { fromNative } from '../../ts/errors.js'
import { ids, smallModel, smallNet } from './helpers.js'

function problems(fn: () => unknown): XTransformersError {
  try {
    fn()
  } catch (error) {
    if (error instanceof XTransformersError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('an error of a constructor', () => {
  it('names every problem, with suggestions and allowed values', () => {
    const error = problems(
      () =>
        new Decoder({
          dim: 0,
          depth: 2,
          head: 8,
          atn_dim_head: 4,
          ff_dropout: 3,
          pre_norm: 'yes',
        } as never),
    )
    expect(error.name).toBe('XTransformersError')
    expect(error).toBeInstanceOf(Error)
    expect(error.code).toBe('invalid_options')
    const found = Object.fromEntries(error.problems.map((p) => [p.path, p]))
    expect(Object.keys(found).sort()).toEqual([
      'atn_dim_head',
      'dim',
      'ff_dropout',
      'head',
      'pre_norm',
    ])
    expect(found.head?.did_you_mean).toBe('heads')
    expect(found.atn_dim_head?.did_you_mean).toBe('attn_dim_head')
    expect(found.ff_dropout?.allowed).toContain('0 to 1')
    for (const { path } of error.problems) expect(error.message).toContain(path)
  })

  it('names missing options', () => {
    expect(
      problems(() => new Decoder({} as never))
        .problems.map((p) => p.path)
        .sort(),
    ).toEqual(['depth', 'dim'])
    expect(problems(() => new Decoder(undefined as never)).problems.length).toBe(2)
  })

  it('names values that JSON cannot represent', () => {
    const values = { dim: Number.NaN, depth: 2n, heads: () => 8, ff_mult: Number.POSITIVE_INFINITY }
    const { message } = problems(() => new Decoder(values as never))
    for (const word of ['NaN', '2n', 'a function', 'Infinity']) expect(message).toContain(word)
  })

  it('treats undefined as absent', () => {
    expect(() => new Decoder({ dim: 16, depth: 1, heads: undefined })).not.toThrow()
  })

  it('requires the right kind of model', () => {
    const wrap = (attn_layers: unknown) =>
      problems(
        () => new TransformerWrapper({ num_tokens: 4, max_seq_len: 4, attn_layers } as never),
      )
    expect(wrap({ dim: 16, depth: 1 }).message).toMatch(/attn_layers/)
    expect(wrap(smallNet()).message).toMatch(/attn_layers.*Encoder|attn_layers.*Decoder/)
    expect(wrap(ones([1])).message).toMatch(/attn_layers/)
  })

  it('lists the problems of the class and of the layers together', () => {
    // rotary_xpos is for a Decoder only; headz is unknown
    const encoder = problems(
      () => new Encoder({ dim: 16, depth: 1, rotary_xpos: true, headz: 3 } as never),
    )
    expect(encoder.problems.map((p) => p.path).sort()).toEqual(['headz', 'rotary_xpos'])
    const attn_layers = new Decoder({ dim: 16, depth: 1 })
    const wrapper = {
      num_tokens: 5,
      max_seq_len: 8,
      emb_dim: 8,
      tie_embedding: true,
      attn_layers,
      maxlen: 1,
    }
    expect(
      problems(() => new TransformerWrapper(wrapper as never))
        .problems.map((p) => p.path)
        .sort(),
    ).toEqual(['maxlen', 'tie_embedding'])
  })

  it('handles a cyclic object', () => {
    const loop: Record<string, unknown> = { dim: 16, depth: 1 }
    loop.heads = loop
    expect(problems(() => new Decoder(loop as never)).message).toContain('heads')
  })

  it('says why there is no GPU, where there is none', () => {
    const { available, reason } = cudaInfo()
    expect(available).toBe(cudaIsAvailable())
    expect(available).toBe(reason === null)
    if (available) return expect(ones([1], { device: 'cuda' }).device).toBe('cuda:0')
    const error = problems(() => ones([1], { device: 'cuda' }))
    expect(error.code).toBe('not_available')
    expect(error.message).toContain('cuda:0')
    expect(error.message).toContain(reason)
  })
})

describe('an error of a call', () => {
  it('names unknown arguments, and those that Python ignores', async () => {
    await expect(smallModel().forward(ids(2, 9), { maks: ones([2, 8]) } as never)).rejects.toThrow(
      /mask/,
    )
  })

  it('names the expected and the given shape', async () => {
    const mask = tensor(Array(2).fill(Array(7).fill(true)))
    await expect(smallNet().forward(ids(2, 8), { mask })).rejects.toThrow(/mask.*7.*8/)
  })

  it('requires an object as its last argument', async () => {
    await expect(smallNet().forward(ids(2, 8), ones([2, 8]) as never)).rejects.toThrow(/\{ mask \}/)
  })

  it('requires awaited tensors', async () => {
    const promised = Promise.resolve(ids(2, 8))
    await expect(smallNet().forward(promised as never)).rejects.toMatchObject({
      name: 'XTransformersError',
    })
    await expect(smallNet().forward(undefined as never)).rejects.toMatchObject({
      name: 'XTransformersError',
    })
  })

  it('rejects tokens outside of the vocabulary, and sequences that are too long', async () => {
    const net = smallNet()
    await expect(net.forward(tensor([[11]], { dtype: 'i64' }))).rejects.toMatchObject({
      name: 'XTransformersError',
    })
    await expect(net.forward(tensor([[-1]], { dtype: 'i64' }))).rejects.toMatchObject({
      name: 'XTransformersError',
    })
    await expect(net.forward(ids(1, 17))).rejects.toThrow(/16/)
    await expect(net.forward(ones([2, 3]))).rejects.toMatchObject({ name: 'XTransformersError' })
    expect(() => net.forwardSync(ids(1, 17))).toThrow(/16/)
  })

  it('says so if the model was disposed', async () => {
    const net = smallNet()
    net.dispose()
    await expect(net.forward(ids(1, 4))).rejects.toMatchObject({ name: 'XTransformersError' })
  })
})

describe('an error of the native addon', () => {
  it('is translated', () => {
    const problem = { path: 'dim', message: 'is required', did_you_mean: null, allowed: 'a number' }
    const error = fromNative(
      new Error(JSON.stringify({ code: 'invalid_options', message: 'no', problems: [problem] })),
    )
    expect(error).toMatchObject({ code: 'invalid_options', message: 'no', problems: [problem] })
  })

  it('is internal if it is not JSON', () => {
    expect(fromNative(new Error('boom'))).toMatchObject({
      code: 'internal',
      message: 'boom',
      problems: [],
    })
    expect(fromNative(new Error('{"x":1}'))).toMatchObject({ code: 'internal' })
    expect(fromNative('text')).toMatchObject({ code: 'internal', message: 'text' })
  })
})
