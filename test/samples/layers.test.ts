import { describe } from 'vitest'
import { Decoder, Encoder, randint, TransformerWrapper, XTransformer } from 'x-transformers'
import { expectFinite, expectLogits, sample } from './sample.js'

describe('Order of the layers', () => {
  sample('Improving Transformer Models by Reordering their Sublayers', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8, sandwich_coef: 6 }),
    })
    await expectLogits(model)
  })

  sample(
    'Understanding and Improving Transformer From a Multi-Particle Dynamic System Point of View',
    async () => {
      const model = new TransformerWrapper({
        num_tokens: 20000,
        max_seq_len: 1024,
        attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8, macaron: true }),
      })
      await expectLogits(model)
    },
  )

  sample('Residual Attention', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Encoder({
        dim: 512,
        depth: 6,
        heads: 8,
        pre_norm: false,
        residual_attn: true,
      }),
    })
    await expectLogits(model)
  })

  sample('Residual Attention: across cross attention', async () => {
    const model = new XTransformer({
      dim: 512,
      enc_num_tokens: 256,
      enc_depth: 6,
      enc_heads: 8,
      enc_max_seq_len: 1024,
      dec_num_tokens: 256,
      dec_depth: 6,
      dec_heads: 8,
      dec_max_seq_len: 1024,
      dec_cross_residual_attn: true,
    })
    using loss = await model.forward(randint(0, 256, [1, 1024]), randint(0, 256, [1, 1024]))
    await expectFinite(loss, [])
  })

  sample('Shifted Tokens', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, shift_tokens: 1 }),
    })
    await expectLogits(model)
  })

  // depth 6 has 12 sub-layers
  sample('Shifted Tokens: by sub-layer', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({
        dim: 512,
        depth: 6,
        heads: 8,
        shift_tokens: [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
      }),
    })
    await expectLogits(model)
  })
})
