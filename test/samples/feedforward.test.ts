import { describe } from 'vitest'
import { Decoder, TransformerWrapper } from 'x-transformers'
import { expectLogits, sample } from './sample.js'

describe('Feed-forward', () => {
  sample('GLU Variants Improve Transformer', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, ff_glu: true }),
    })
    await expectLogits(model)
  })

  sample('GLU Variants Improve Transformer: SwiGLU', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, ff_swish: true, ff_glu: true }),
    })
    await expectLogits(model)
  })

  sample('No Bias in Feedforward', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, ff_no_bias: true }),
    })
    await expectLogits(model)
  })

  sample('ReLU²', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, ff_relu_squared: true }),
    })
    await expectLogits(model)
  })
})
