/** What the head reads, several heads, embeddings of kinds, and prompts of different lengths. */
import { beforeEach, describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  Encoder,
  manualSeed,
  stack,
  type Tensor,
  TransformerWrapper,
  tensor,
  ViTransformerWrapper,
} from 'x-transformers'
import { bits, DIM, type Net, waves } from './features.js'
import { expectClose, numbers, smallModel, VOCABULARY } from './helpers.js'

const X = [
  [1, 5, 3, 2],
  [4, 0, 6, 6],
]

const layers = () => new Encoder({ dim: DIM, depth: 1, heads: 2, attn_dim_head: 8 })

function over<Logits extends Tensor | Tensor[] = Tensor>(net: Net): TransformerWrapper<Logits> {
  const base = { num_tokens: VOCABULARY, max_seq_len: 16, attn_layers: layers() }
  return new TransformerWrapper<Logits>({ ...base, ...net })
}

beforeEach(() => {
  manualSeed(7)
})

describe('what the head of a transformer reads', () => {
  it('is a class token, or several', async () => {
    const one = over({ use_cls_token: true })
    expect((await one.forward(X)).shape).toEqual([2, VOCABULARY])
    expect(one.stateDict().get('cls_token')?.shape).toEqual([1, DIM])
    const two = over({ use_cls_token: true, num_cls_tokens: 2 })
    expect((await two.forward(X)).shape).toEqual([2, 2, VOCABULARY])
  })

  it('is the mean over what a mask leaves', async () => {
    const model = over({ average_pool_embed: true, logits_dim: 1, squeeze_out_last_dim: true })
    const mask = bits('1100 1111')
    const short = await model.forward([X[0]?.slice(0, 2) ?? []])
    const [first] = numbers(await model.forward(X, { mask }))
    expectClose([first ?? Number.NaN], numbers(short), 1e-5)
  })

  it('is the same for several heads, whose logits are an array', async () => {
    const model = over<Tensor[]>({ num_output_heads: 2, logits_dim: 3 })
    const logits = await model.forward(X)
    expect(logits.map((each) => each.shape)).toEqual([
      [2, 4, 3],
      [2, 4, 3],
    ])
    expect(numbers(logits[0] as Tensor)).not.toEqual(numbers(logits[1] as Tensor))
    const [both, embeddings] = await model.forward(X, { return_logits_and_embeddings: true })
    expect([both.length, embeddings.shape]).toEqual([2, [2, 4, DIM]])
  })

  it('makes a model that no wrapper for tokens takes', () => {
    const model = over({ use_cls_token: true })
    expect(() => new AutoregressiveWrapper(model)).toThrow(/use_cls_token.*each token/)
  })
})

describe('embeddings of kinds', () => {
  it('take ids by name, as arrays or tensors', async () => {
    const model = over({ embed_num_tokens: { kind: 3, place: 2 } })
    const kinds = [
      [0, 2, 1, 1],
      [2, 2, 0, 1],
    ]
    const place = [0, 1, 0, 1]
    const arrays = await model.forward(X, { embed_ids: { kind: kinds, place } })
    const tensors = await model.forward(X, {
      embed_ids: { place: tensor(place, { dtype: 'i64' }), kind: tensor(kinds, { dtype: 'i64' }) },
    })
    expect(numbers(arrays)).toEqual(numbers(tensors))
    await expect(model.forward(X)).rejects.toThrow(/embed_ids must have 'kind'/)
    const wrong = { kind: [[0, 3, 0, 0]], place }
    await expect(model.forward(X, { embed_ids: wrong })).rejects.toThrow(/embed_ids\.kind/)
    // a single tensor has no names
    const single = tensor(place, { dtype: 'i64' }) as never
    await expect(model.forward(X, { embed_ids: single })).rejects.toThrow(/embed_ids/)
  })
})

describe('prompts of different lengths', () => {
  it('are an array of arrays or tensors, or padded with their lengths', async () => {
    const model = smallModel()
    const prompts = [
      [3, 1, 4],
      [2, 7, 1, 8, 2],
    ]
    const options = { temperature: 0 }
    const want = numbers(
      await model.generate(
        [
          [3, 1, 4, 0, 0],
          [2, 7, 1, 8, 2],
        ],
        6,
        { ...options, mask: bits('11100 11111') },
      ),
    )
    expect(numbers(await model.generate(prompts, 6, options))).toEqual(want)
    const tensors = prompts.map((prompt) => tensor(prompt, { dtype: 'i64' }))
    expect(numbers(await model.generate(tensors, 6, options))).toEqual(want)
    const padded = stack([
      tensor([3, 1, 4, 0, 0], { dtype: 'i64' }),
      tensor([2, 7, 1, 8, 2], { dtype: 'i64' }),
    ])
    const prompt_lens = [3, 5]
    expect(numbers(await model.generate(padded, 6, { ...options, prompt_lens }))).toEqual(want)
    const rows: number[][] = []
    for await (const row of model.stream<number[]>(prompts, 6, options)) rows.push(row)
    expect([0, 1].flatMap((at) => rows.map((row) => row[at]))).toEqual(want)
  })

  it('of one length stay one tensor', async () => {
    const model = smallModel()
    const made = await model.generate(X, 2, { temperature: 0 })
    expect(made.shape).toEqual([2, 2])
  })
})

describe('a vision transformer', () => {
  it('reads a class token, and removes registers', async () => {
    const model = new ViTransformerWrapper({
      image_size: 8,
      patch_size: 4,
      num_classes: 5,
      attn_layers: layers(),
      use_cls_token: true,
      pool: 'cls',
      num_register_tokens: 3,
      patch_norm: false,
    })
    const image = waves([2, 3, 8, 8])
    expect((await model.forward(image)).shape).toEqual([2, 5])
    const embeddings = await model.forward(image, { return_embeddings: true })
    expect(embeddings.shape).toEqual([2, 5, DIM])
    expect(model.stateDict().has('patch_to_embedding.0.weight')).toBe(false)
  })
})
