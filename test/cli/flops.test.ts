// What `inspect` counts that no small run shows.
import { expect, it } from 'vitest'
import { CrossAttender, Decoder, describe, type Module, XTransformer } from 'x-transformers'
import { costsOf } from '../../packages/cli/src/model/flops.js'

const SIZES = { dim: 16, heads: 2, attn_dim_head: 8 }
/** Bytes of the keys and values of one attention. */
const ONE = 2 * 16 * 4

const kept = (model: Module) => costsOf(describe(model), 16).kept_bytes_per_token / ONE

it('keeps keys and values of self attentions, not those of the context', () => {
  const decoder = (options: object) => kept(new Decoder({ ...SIZES, depth: 3, ...options }))
  expect(decoder({})).toBe(3)
  expect(decoder({ cross_attend: true })).toBe(3)
  expect(decoder({ cross_attend: true, macaron: true })).toBe(3)
  expect(decoder({ cross_attend: true, only_cross: true })).toBe(0)
  expect(decoder({ cross_attend: true, sandwich_coef: 2 })).toBe(3)
  expect(decoder({ cross_attend: true, custom_layers: ['a', 'f', 'c', 'c', 'a', 'a'] })).toBe(3)
  expect(kept(new CrossAttender({ ...SIZES, depth: 3 }))).toBe(0)
  const half = (prefix: string) => ({
    ...{ [`${prefix}depth`]: 2, [`${prefix}heads`]: 2, [`${prefix}attn_dim_head`]: 8 },
    ...{ [`${prefix}num_tokens`]: 9, [`${prefix}max_seq_len`]: 8 },
  })
  const pair = (more: object) =>
    kept(new XTransformer({ dim: 16, ...half('enc_'), ...half('dec_'), ...more } as never))
  expect(pair({})).toBe(2)
  expect(pair({ dec_only_cross: true })).toBe(0)
})
