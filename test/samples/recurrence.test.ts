import { describe, expect } from 'vitest'
import { Decoder, randint, type Tensor, TransformerWrapper } from 'x-transformers'
import { expectFinite, sample } from './sample.js'

/** The logits of a segment, and memories of all positions so far for each of the 6 layers. */
async function expectSegment([logits, mems]: [Tensor, Tensor[]], seen: number): Promise<void> {
  await expectFinite(logits, [1, 512, 20000])
  expect(mems.length).toBe(6)
  for (const mem of mems) await expectFinite(mem, [1, seen, 512])
}

const segment = () => randint(0, 20000, [1, 512])

describe('Recurrence', () => {
  sample('Transformer-XL recurrence', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 512,
      max_mem_len: 2048,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, rel_pos_bias: true }),
    })
    const [logits1, mems1] = await model.forward(segment(), { return_mems: true })
    const [logits2, mems2] = await model.forward(segment(), { mems: mems1, return_mems: true })
    const [logits3, mems3] = await model.forward(segment(), { mems: mems2, return_mems: true })

    await expectSegment([logits1, mems1], 512)
    await expectSegment([logits2, mems2], 1024)
    await expectSegment([logits3, mems3], 1536)
  })

  sample('Enhanced recurrence', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 512,
      max_mem_len: 2048,
      shift_mem_down: 1,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, rotary_pos_emb: true }),
    })
    const [logits1, mems1] = await model.forward(segment(), { return_mems: true })
    const [logits2, mems2] = await model.forward(segment(), { mems: mems1, return_mems: true })

    await expectSegment([logits1, mems1], 512)
    await expectSegment([logits2, mems2], 1024)
  })
})
