import { describe } from 'vitest'
import {
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  CrossAttender,
  Decoder,
  Encoder,
  ones,
  randint,
  randn,
  TransformerWrapper,
} from 'x-transformers'
import { expectFinite, expectTrains, sample } from './sample.js'

describe('Training and miscellaneous', () => {
  sample('Forgetful Causal Mask', async () => {
    const net = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 12, heads: 8 }),
    })
    const model = new AutoregressiveWrapper(net, { mask_prob: 0.15 })
    using loss = await model.forward(randint(0, 20000, [1, 1024]))
    await expectTrains(model, loss)
  })

  sample('Cross Attention', async () => {
    const encoder = new Encoder({ dim: 512, depth: 6 })
    const model = new CrossAttender({ dim: 512, depth: 6 })
    const nodes = randn([1, 1, 512])
    const mask = ones([1, 1], { dtype: 'bool' })
    const neighbors = randn([1, 5, 512])
    const context_mask = ones([1, 5], { dtype: 'bool' })

    using context = await encoder.forward(neighbors, { mask: context_mask })
    using y = await model.forward(nodes, { context, mask, context_mask })
    await expectFinite(y, [1, 1, 512])
  })

  sample('Pass in continuous values', async () => {
    const model = new ContinuousTransformerWrapper({
      dim_in: 32,
      dim_out: 100,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 12, heads: 8 }),
    })
    using y = await model.forward(randn([1, 1024, 32]))
    await expectFinite(y, [1, 1024, 100])
  })

  sample('Pass in continuous values: autoregressive', async () => {
    const net = new ContinuousTransformerWrapper({
      dim_in: 777,
      dim_out: 777,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 12, heads: 8 }),
    })
    const model = new ContinuousAutoregressiveWrapper(net)
    const mask = ones([1, 1024], { dtype: 'bool' })
    using loss = await model.forward(randn([1, 1024, 777]), { mask })
    await expectTrains(model, loss)

    using generated = await model.generate(randn([1, 777]), 17)
    await expectFinite(generated, [17, 777])
  })
})
