import { describe } from 'vitest'
import { Decoder, TransformerWrapper } from 'x-transformers'
import { expectLogits, sample } from './sample.js'

describe('Positions', () => {
  sample('T5’s Simplified Relative Positional Encoding', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, rel_pos_bias: true }),
    })
    await expectLogits(model)
  })

  sample('Rotary Positional Embeddings', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, rotary_pos_emb: true }),
    })
    await expectLogits(model)
  })

  sample('Rotary Positional Embeddings: xpos', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, rotary_xpos: true }),
    })
    await expectLogits(model)
  })

  sample('Dynamic Positional Bias', async () => {
    const model = new TransformerWrapper({
      num_tokens: 256,
      max_seq_len: 1024,
      attn_layers: new Decoder({
        dim: 512,
        depth: 6,
        heads: 8,
        dynamic_pos_bias: true,
        dynamic_pos_bias_log_distance: false,
      }),
    })
    await expectLogits(model)
  })

  sample('ALiBi Positional Embedding', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({
        dim: 512,
        depth: 6,
        heads: 8,
        alibi_pos_bias: true,
        alibi_num_heads: 4,
      }),
    })
    await expectLogits(model)
  })

  sample('Turning off absolute positional embedding', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      use_abs_pos_emb: false,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8 }),
    })
    await expectLogits(model)
  })
})
