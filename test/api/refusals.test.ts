import { describe, expect, it } from 'vitest'
import {
  Attention,
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  CrossAttender,
  NonAutoregressiveWrapper,
  ones,
  randn,
  TransformerWrapper,
  tensor,
  ViTransformerWrapper,
  XTransformer,
} from 'x-transformers'
import { ids } from './helpers.js'
import { continuous, decoder, masked, vit, xTransformer } from './zoo.js'

const cross = () => new CrossAttender({ dim: 16, depth: 1 })
const transformer = () =>
  new TransformerWrapper({ num_tokens: 11, max_seq_len: 8, attn_layers: decoder() })
const image = { image_size: 8, patch_size: 4 }

const constructors: [string, () => unknown, RegExp][] = [
  [
    'a decoder for images',
    () => new ViTransformerWrapper({ ...image, attn_layers: decoder() as never }),
    /allowed: Encoder/,
  ],
  [
    'vectors for a loss over tokens',
    () => new AutoregressiveWrapper(continuous() as never),
    /net: got a Continuous/,
  ],
  [
    'names that Python drops',
    () =>
      new XTransformer({
        ...xTransformer().options,
        dec_num_memory_tokens: 2,
        enc_dim: 4,
      } as never),
    /dec_num_memory_tokens[\s\S]*enc_dim/,
  ],
]

const calls: [string, () => Promise<unknown>, RegExp][] = [
  ['a missing context', () => cross().forward(ones([1, 2, 16])), /context is missing/],
  [
    'a context without cross attention',
    () => decoder().forward(ones([1, 2, 16]), { context: ones([1, 2, 16]) }),
    /set `cross_attend`/,
  ],
  [
    'a context that is still a promise',
    () =>
      cross().forward(ones([1, 2, 16]), { context: vit().forward(randn([1, 3, 8, 8])) as never }),
    /await it first/,
  ],
  ['an image of no whole patches', () => vit().forward(ones([1, 3, 9, 8])), /multiples of 4/],
  [
    'another width',
    () => new Attention({ dim: 16 }).forward(ones([1, 2, 8])),
    /\(batch, length, 16\)/,
  ],
  [
    'a mask of the full length for a loss',
    () =>
      new AutoregressiveWrapper(transformer()).forward(ids(1, 8), {
        mask: ones([1, 8], { dtype: 'bool' }),
      }),
    /mask has 8 columns, and there are 7 inputs/,
  ],
  [
    'a mask of numbers',
    () => masked().forward(ids(1, 5), { mask: ones([1, 5]) }),
    /mask must be bool/,
  ],
  [
    'ids without a batch axis',
    () => masked().forward(tensor([1, 2], { dtype: 'i64' })),
    /\(batch, length\)/,
  ],
  [
    'an id that is no token',
    () => masked().forward(tensor([[11]], { dtype: 'i64' })),
    /token id 11 at \[0, 0\] is not in the vocabulary/,
  ],
  [
    'memories of another batch',
    () => transformer().forward(ids(1, 4), { mems: [ones([2, 4, 16])] }),
    /mems must have shape \(1, length, 16\)/,
  ],
  [
    'a source that is too long',
    () => xTransformer().forward(ids(1, 9), ids(1, 4)),
    /longer than `max_seq_len` \(8\)/,
  ],
  [
    'embeddings of another width',
    () => xTransformer().forward(ids(1, 5), ids(1, 4), { src_prepend_embeds: ones([1, 2, 8]) }),
    /prepend_embeds must have shape/,
  ],
  [
    'a shorter sequence than masked generation has',
    () => new NonAutoregressiveWrapper(masked(), { mask_id: 10 }).forward(ids(1, 5)),
    /\(batch, 8\), `max_seq_len`/,
  ],
  [
    'vectors of another width',
    () => new ContinuousAutoregressiveWrapper(continuous()).forward(ones([1, 8, 4])),
    /\(batch, length, 3\)/,
  ],
]

describe('an error names', () => {
  it.each(constructors)('%s', (_, make, message) => {
    expect(make).toThrowError(
      expect.objectContaining({ code: 'invalid_options', message: expect.stringMatching(message) }),
    )
  })

  it.each(calls)('%s', async (_, call, message) => {
    await expect(call()).rejects.toMatchObject({
      name: 'XTransformersError',
      message: expect.stringMatching(message),
    })
  })
})
