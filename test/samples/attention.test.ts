import { describe } from 'vitest'
import { Decoder, Encoder, TransformerWrapper } from 'x-transformers'
import { expectLogits, sample } from './sample.js'

describe('Attention', () => {
  sample('Explicit Sparse Transformer', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, attn_sparse_topk: 8 }),
    })
    await expectLogits(model)
  })

  sample('Talking-Heads Attention', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, attn_talking_heads: true }),
    })
    await expectLogits(model)
  })

  sample('One Write-Head Is All You Need', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, attn_one_kv_head: true }),
    })
    await expectLogits(model)
  })

  sample('Attention on Attention for Image Captioning', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8, attn_on_attn: true }),
    })
    await expectLogits(model)
  })

  sample('Intra-attention Gating on Values', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8, attn_gate_values: true }),
    })
    await expectLogits(model)
  })

  sample('Cosine Sim Attention: groups', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({
        dim: 512,
        depth: 6,
        heads: 8,
        attn_qk_norm: true,
        attn_qk_norm_groups: 8,
      }),
    })
    await expectLogits(model)
  })

  sample('Cosine Sim Attention: scale', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({
        dim: 512,
        depth: 6,
        heads: 8,
        attn_qk_norm: true,
        attn_qk_norm_scale: 10,
      }),
    })
    await expectLogits(model)
  })

  sample('QK RMSNorm', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({
        dim: 512,
        depth: 12,
        heads: 8,
        attn_qk_norm: true,
        attn_qk_norm_dim_scale: true,
      }),
    })
    await expectLogits(model)
  })
})
