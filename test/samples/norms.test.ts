import { describe } from 'vitest'
import { Decoder, Encoder, randn, TransformerWrapper } from 'x-transformers'
import { expectFinite, expectLogits, sample } from './sample.js'

describe('Memory, norms and residuals', () => {
  sample('Augmenting Self-attention with Persistent Memory', async () => {
    const encoder = new Encoder({ dim: 512, depth: 6, heads: 8, attn_num_mem_kv: 16 })
    using y = await encoder.forward(randn([1, 1024, 512]))
    await expectFinite(y, [1, 1024, 512])
  })

  sample('Memory Transformers', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      num_memory_tokens: 20,
      attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8 }),
    })
    await expectLogits(model)
  })

  sample('Transformers Without Tears', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, use_scalenorm: true }),
    })
    await expectLogits(model)
  })

  sample('Transformers Without Tears: l2norm_embed', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      l2norm_embed: true,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8 }),
    })
    await expectLogits(model)
  })

  sample('Transformers Without Tears: post_emb_norm', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      post_emb_norm: true,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8 }),
    })
    await expectLogits(model)
  })

  sample('Root Mean Square Layer Normalization', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, use_rmsnorm: true }),
    })
    await expectLogits(model)
  })

  sample('Deepnorm', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ deepnorm: true, dim: 512, depth: 6, heads: 8 }),
    })
    await expectLogits(model)
  })

  sample('Gated residual', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      max_mem_len: 2048,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 16, gate_residual: true }),
    })
    await expectLogits(model)
  })

  sample('Sandwich Norm', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, sandwich_norm: true }),
    })
    await expectLogits(model)
  })

  sample('Normformer: scale of the heads', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, attn_head_scale: true }),
    })
    await expectLogits(model)
  })

  sample('Normformer: norm after the activation', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, ff_post_act_ln: true }),
    })
    await expectLogits(model)
  })

  sample('Normformer: scale of the residual', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, scale_residual: true }),
    })
    await expectLogits(model)
  })
})
