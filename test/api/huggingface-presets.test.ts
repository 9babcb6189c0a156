// New models with the architectures of Hugging Face.
import { describe, expect, it } from 'vitest'
import { crossEntropy, rand, randint } from 'x-transformers'
import { fromHuggingFace, presets, toHuggingFace } from 'x-transformers/huggingface'
import { expectThrows, numbers } from './helpers.js'
import { Folder } from './huggingface.js'

const SIZES = { num_tokens: 40, max_seq_len: 32, dim: 32, depth: 4, heads: 4 }

type Name = keyof typeof presets
const DECODERS: Name[] = [
  ...(['gpt2', 'gpt_neox', 'llama', 'mistral', 'qwen2', 'qwen3', 'gemma', 'gemma2'] as const),
  ...(['gemma3', 'phi', 'phi3', 'olmo', 'olmo2', 'stablelm', 'smollm3', 'granite'] as const),
]

describe('the presets', () => {
  it('are those of every family', () => {
    const others: Name[] = ['bert', 'albert', 'vit', 't5']
    expect(Object.keys(presets).sort()).toEqual([...DECODERS, ...others].sort())
  })

  it.each(DECODERS)('train, and are written for transformers: %s', async (name) => {
    const make = presets[name] as typeof presets.llama
    const model = make(SIZES)
    const ids = randint(0, 40, [2, 9])
    const logits = await model.forward(ids)
    expect(logits.shape).toEqual([2, 9, 40])
    await crossEntropy(
      logits.slice(1, 0, 8).reshape([16, 40]),
      ids.slice(1, 1).reshape([16]),
    ).backward()
    expect([...model.parameters()].filter(({ grad }) => grad === null)).toEqual([])
    const folder = new Folder()
    await toHuggingFace(model, folder)
    const again = await fromHuggingFace<typeof model>(folder.sources)
    expect(numbers(await again.model.forward(ids))).toEqual(
      numbers(await model.eval().forward(ids)),
    )
  })

  it.each(['bert', 'albert'] as const)('give hidden states: %s', async (name) => {
    const model = presets[name]({ ...SIZES, ...(name === 'albert' && { emb_dim: 16 }) } as never)
    const embed_ids = { token_type: [[0, 0, 1]] }
    const hidden = await model.forward([[3, 4, 5]], { embed_ids })
    expect(hidden.shape).toEqual([1, 3, 32])
    const folder = new Folder()
    await toHuggingFace(model, folder)
    const again = await fromHuggingFace<typeof model>(folder.sources)
    const got = await again.model.forward([[3, 4, 5]], { embed_ids })
    expect(numbers(got)).toEqual(numbers(await model.eval().forward([[3, 4, 5]], { embed_ids })))
  })

  it('classify images: vit', async () => {
    const { num_tokens: _, max_seq_len: __, ...sizes } = SIZES
    const images = { image_size: 12, patch_size: 4, channels: 1, num_classes: 3 }
    const model = presets.vit({ ...sizes, ...images })
    const x = rand([2, 1, 12, 12])
    expect((await model.forward(x)).shape).toEqual([2, 3])
    const folder = new Folder()
    await toHuggingFace(model, folder)
    const again = await fromHuggingFace<typeof model>(folder.sources)
    expect(numbers(await again.model.forward(x))).toEqual(numbers(await model.eval().forward(x)))
  })

  it('translate: t5', async () => {
    const model = presets.t5({ ...SIZES, settings: { feed_forward_proj: 'gated-gelu' } })
    const [src, tgt] = [randint(0, 40, [2, 5]), randint(0, 40, [2, 6])]
    const logits = await model.forward(src, tgt, { return_logits: true })
    expect(logits.shape).toEqual([2, 6, 40])
    const folder = new Folder()
    await toHuggingFace(model, folder)
    const again = await fromHuggingFace<typeof model>(folder.sources)
    const options = { return_logits: true }
    const want = numbers(await model.eval().forward(src, tgt, options))
    expect(numbers(await again.model.forward(src, tgt, options))).toEqual(want)
  })

  it('take sizes, and settings in the words of the family', async () => {
    const settings = { rope_theta: 500, tie_word_embeddings: true }
    const sizes = { ...SIZES, kv_heads: 2, dim_head: 16, ff_inner_dim: 48, settings }
    const folder = new Folder()
    await toHuggingFace(presets.llama(sizes), folder)
    expect(folder.json('config.json')).toEqual({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      vocab_size: 40,
      max_position_embeddings: 32,
      hidden_size: 32,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 16,
      intermediate_size: 48,
      dtype: 'float32',
      ...settings,
    })
  })

  it.each(['phi3', 'smollm3'] as const)(
    'have no tokens beyond the vocabulary: %s',
    async (name) => {
      const folder = new Folder()
      await toHuggingFace(presets[name](SIZES), folder)
      const none = { bos_token_id: null, eos_token_id: null, pad_token_id: null }
      expect(folder.json('config.json')).toMatchObject(none)
      expect((await fromHuggingFace(folder.sources)).tokens).toMatchObject({ eos: [], pad: null })
    },
  )

  it('have feed-forwards as wide, in proportion, as the models of the family', async () => {
    // 11008 / 4096 of 32 is 86
    const llama = presets.llama(SIZES).options.attn_layers as unknown as { options: object }
    expect(llama.options).toMatchObject({ ff_inner_dim: 88 })
    const gemma = presets.gemma(SIZES).options.attn_layers as unknown as { options: object }
    expect(gemma.options).toMatchObject({ ff_inner_dim: 256 })
  })

  it('refuse what cannot be', () => {
    const make = (changes: object) => () => presets.llama({ ...SIZES, ...changes })
    expectThrows(make({ hidden_size: 3 }), 'invalid_options', 'hidden_size is not an option')
    expectThrows(make({ dim: 0 }), 'invalid_options', 'dim of presets.llama() must be a whole')
    expectThrows(make({ depth: undefined }), 'invalid_options', 'depth of presets.llama()')
    expectThrows(make({ kv_heads: 3 }), 'invalid_options', 'presets.llama() cannot be made')
    expectThrows(make({ settings: 3 }), 'invalid_options', 'settings must be an object')
    expectThrows(make({ settings: { hidden_act: 'mish' } }), 'invalid_options', '"mish"')
    const other = () => presets.gpt2({ ...SIZES, kv_heads: 2 } as never)
    expectThrows(other, 'invalid_options', 'kv_heads is not an option of presets.gpt2()')
  })
})
