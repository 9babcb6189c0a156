import { expect, describe as suite } from 'vitest'
import {
  Decoder,
  describe,
  Encoder,
  ones,
  randint,
  randn,
  TransformerWrapper,
  ViTransformerWrapper,
  XTransformer,
} from 'x-transformers'
import { expectFinite, expectLogits, expectTrains, sample } from './sample.js'

suite('Usage', () => {
  sample('Full encoder / decoder', async () => {
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
      tie_token_emb: true,
    })
    const src = randint(0, 256, [1, 1024])
    const mask = ones([1, 1024], { dtype: 'bool' })
    const tgt = randint(0, 256, [1, 1024])

    using loss = await model.forward(src, tgt, { mask })
    await expectTrains(model, loss)
  })

  sample('Decoder-only (GPT-like)', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 12, heads: 8 }),
    })
    using logits = await model.forward(randint(0, 256, [1, 1024]))
    await expectFinite(logits, [1, 1024, 20000])
  })

  // 652 GiB of weights: described, never drawn
  sample('Decoder-only (GPT-like): GPT-3', async () => {
    const [tokens, length, dim, depth, heads, dim_head] = [50000, 2048, 12288, 96, 96, 128]
    const gpt3 = new TransformerWrapper({
      num_tokens: tokens,
      max_seq_len: length,
      attn_layers: new Decoder({ dim, depth, heads, attn_dim_head: dim_head }),
    })
    const norm = 2 * dim
    const attention = norm + 4 * dim * heads * dim_head
    const feedforward = norm + (dim * 4 * dim + 4 * dim) + (4 * dim * dim + dim)
    const head = dim * tokens + tokens
    const want = tokens * dim + length * dim + depth * (attention + feedforward) + norm + head

    const { num_parameters, bytes } = describe(gpt3)
    expect(num_parameters).toBe(want)
    expect(gpt3.numParameters).toBe(want)
    expect(bytes).toBe(4 * want)
    expect(num_parameters / 1e9).toBeCloseTo(175.2, 1)
  })

  sample('Encoder-only (BERT-like)', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Encoder({ dim: 512, depth: 12, heads: 8 }),
    })
    const x = randint(0, 256, [1, 1024])
    const mask = ones([1, 1024], { dtype: 'bool' })
    using logits = await model.forward(x, { mask })
    await expectFinite(logits, [1, 1024, 20000])
  })

  sample('Dropouts', async () => {
    const model = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      emb_dropout: 0.1,
      attn_layers: new Decoder({
        dim: 512,
        depth: 6,
        heads: 8,
        layer_dropout: 0.1,
        attn_dropout: 0.1,
        ff_dropout: 0.1,
      }),
    })
    await expectLogits(model)
  })
})

suite('Usage: images', () => {
  sample('State of the art image classification', async () => {
    const model = new ViTransformerWrapper({
      image_size: 256,
      patch_size: 32,
      num_classes: 1000,
      attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8 }),
    })
    using classes = await model.forward(randn([1, 3, 256, 256]))
    await expectFinite(classes, [1, 1000])
  })

  sample('Image -> caption', async () => {
    const encoder = new ViTransformerWrapper({
      image_size: 256,
      patch_size: 32,
      attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8 }),
    })
    const decoder = new TransformerWrapper({
      num_tokens: 20000,
      max_seq_len: 1024,
      attn_layers: new Decoder({ dim: 512, depth: 6, heads: 8, cross_attend: true }),
    })
    const caption = randint(0, 20000, [1, 1024])

    using encoded = await encoder.forward(randn([1, 3, 256, 256]), { return_embeddings: true })
    await expectFinite(encoded, [1, 64, 512])
    using logits = await decoder.forward(caption, { context: encoded })
    await expectFinite(logits, [1, 1024, 20000])
  })

  sample('PaLI, state of the art language-vision model', async () => {
    const vit = new ViTransformerWrapper({
      image_size: 256,
      patch_size: 32,
      attn_layers: new Encoder({ dim: 512, depth: 6, heads: 8 }),
    })
    const pali = new XTransformer({
      dim: 512,
      enc_num_tokens: 256,
      enc_depth: 6,
      enc_heads: 8,
      enc_max_seq_len: 1024,
      dec_num_tokens: 256,
      dec_depth: 6,
      dec_heads: 8,
      dec_max_seq_len: 1024,
    })
    const prompt = randint(0, 256, [1, 1024])
    const mask = ones([1, 1024], { dtype: 'bool' })
    const output = randint(0, 256, [1, 1024])

    using images = await vit.forward(randn([1, 3, 256, 256]), { return_embeddings: true })
    using loss = await pali.forward(prompt, output, { mask, src_prepend_embeds: images })
    await expectTrains(pali, loss)
    // the gradient continues into the transformer for images
    expect(vit.stateDict().get('patch_to_embedding.1.weight')?.grad?.shape).toEqual([512, 3072])
  })
})
