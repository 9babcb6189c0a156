import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  manualSeed,
  randn,
  type Tensor,
  TransformerWrapper,
  tensor,
  where,
} from 'x-transformers'
import { ids, numbers, VOCABULARY } from './helpers.js'
import { continuous, decoder, vit, xTransformer } from './zoo.js'

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

const yes = (rows: number, columns: number) =>
  tensor(new Uint8Array(rows * columns).fill(1), { shape: [rows, columns], dtype: 'bool' })

describe('an encoder and a decoder', () => {
  it('generates the same tokens greedily in every way', async () => {
    const model = xTransformer()
    const [source, start] = [ids(1, 5), ids(1, 1)]
    const greedy = { temperature: 0, mask: yes(1, 5) }
    const want = await model.generate(source, start, 6, greedy)
    expect(want.shape).toEqual([1, 6])
    expect(numbers(model.generateSync(source, start, 6, greedy))).toEqual(numbers(want))
    expect(await all(model.stream(source, start, 6, greedy))).toEqual(numbers(want))
    const best = (logits: Tensor) =>
      where(logits.ge(logits.max(-1, { keepdim: true })), logits, Number.NEGATIVE_INFINITY)
    const own = { mask: yes(1, 5), filter_logits_fn: best }
    expect(numbers(await model.generate(source, start, 6, own))).toEqual(numbers(want))
    expect(await all(model.stream(source, start, 6, own))).toEqual(numbers(want))
  })

  it('draws the same with the same seed, and gives arrays for several rows', async () => {
    const model = xTransformer()
    const draw = async () => {
      manualSeed(2)
      return (
        await model.generate(ids(2, 5), ids(2, 1), 4, { filter_thres: 0.2 })
      ).toArray() as number[][]
    }
    const want = await draw()
    expect(await draw()).toEqual(want)
    manualSeed(2)
    const rows = await all(model.stream<number[]>(ids(2, 5), ids(2, 1), 4, { filter_thres: 0.2 }))
    expect(rows).toEqual([0, 1, 2, 3].map((i) => want.map((row) => row[i])))
  })

  it('rejects with the reason of its signal', async () => {
    const model = xTransformer()
    const controller = new AbortController()
    const seen: number[] = []
    const read = async () => {
      for await (const token of model.stream(ids(1, 5), ids(1, 1), 50, {
        signal: controller.signal,
      })) {
        seen.push(token)
        if (seen.length === 2) controller.abort('enough')
      }
    }
    await expect(read()).rejects.toBe('enough')
    expect(seen.length).toBe(2)
    await expect(model.forward(ids(1, 5), ids(1, 4), { signal: controller.signal })).rejects.toBe(
      'enough',
    )
    await expect(
      model.generate(ids(1, 5), ids(1, 1), 4, { signal: controller.signal }),
    ).rejects.toBe('enough')
  })

  it('does not see masked tokens of the source', async () => {
    const model = xTransformer().eval()
    const mask = tensor([[true, true, true, false, false]])
    const [a, b] = [
      tensor([[1, 2, 3, 4, 5]], { dtype: 'i64' }),
      tensor([[1, 2, 3, 9, 8]], { dtype: 'i64' }),
    ]
    const losses = [a, b].map((source) => model.forwardSync(source, ids(1, 6), { mask }).item())
    expect(losses[0]).toBe(losses[1])
    expect(model.forwardSync(b, ids(1, 6)).item()).not.toBe(losses[0])
  })

  it('says which arguments are wrong', async () => {
    const model = xTransformer()
    await expect(
      model.generate(ids(1, 5), ids(1, 1), 4, { tmperature: 1 } as never),
    ).rejects.toThrow(/temperature/)
    await expect(model.forward(ids(1, 5), ids(2, 4))).rejects.toMatchObject({
      name: 'XTransformersError',
    })
  })
})

describe('images', () => {
  const image = () => randn([2, 3, 8, 8], { requires_grad: true })

  it('give a mean, classes, or the embeddings of their patches', async () => {
    expect((await vit().forward(image())).shape).toEqual([2, 16])
    expect((await vit(5).forward(image())).shape).toEqual([2, 5])
    expect((await vit(5).forward(image(), { return_embeddings: true })).shape).toEqual([2, 4, 16])
    expect((await vit(5).forward(randn([2, 3, 4, 8]))).shape).toEqual([2, 5])
  })

  it('have captions: a loss with a gradient for the image, and generated text', async () => {
    const encoder = vit()
    const captions = new AutoregressiveWrapper(
      new TransformerWrapper({ num_tokens: 11, max_seq_len: 8, attn_layers: decoder(true) }),
    )
    const pixels = image()
    const context = await encoder.forward(pixels, { return_embeddings: true })
    const loss = await captions.forward(ids(2, 7), { context })
    await loss.backward()
    expect(numbers(pixels.grad as Tensor).some((value) => value !== 0)).toBe(true)
    expect(encoder.parameters().every((parameter) => parameter.grad !== null)).toBe(true)

    const again = await encoder.forward(pixels, { return_embeddings: true })
    expect((await captions.generate(ids(2, 1), 5, { context: again })).shape).toEqual([2, 5])
    await expect(captions.forward(ids(2, 7))).rejects.toThrow(/context/)
  })

  it('are prepended to a prompt, as in PaLI', async () => {
    const [encoder, pali] = [vit(), xTransformer()]
    const src_prepend_embeds = await encoder.forward(image(), { return_embeddings: true })
    const mask = yes(2, 5)
    const loss = await pali.forward(ids(2, 5), ids(2, 6), { mask, src_prepend_embeds })
    await loss.backward()
    expect(encoder.parameters().every((parameter) => parameter.grad !== null)).toBe(true)
  })
})

describe('a generation from images and a prompt', () => {
  it('writes the tokens that are the likeliest behind both', async () => {
    const model = xTransformer().eval()
    const front = randn([1, 3, 16])
    const [prompt, start, mask] = [ids(1, 5), ids(1, 2), yes(1, 5)]
    const options = { temperature: 0, src_prepend_embeds: front, mask }
    const tokens = numbers(await model.generate(prompt, start, 4, options))
    expect(numbers(model.generateSync(prompt, start, 4, options))).toEqual(tokens)
    const streamed: number[] = []
    for await (const token of model.stream(prompt, start, 4, options)) streamed.push(token)
    expect(streamed).toEqual(tokens)
    const vocabulary = Array.from({ length: VOCABULARY }, (_, id) => id)
    const all = VOCABULARY
    const source = {
      src_prepend_embeds: front.expand([all, 3, 16]),
      mask: mask.expand([all, 5]),
    }
    for (const [i, token] of tokens.entries()) {
      const before = [...numbers(start), ...tokens.slice(0, i)]
      const rows = vocabulary.map((id) => [...before, id])
      const { log_probs } = await model.score(prompt.expand([all, 5]), rows, source)
      const last = numbers(log_probs.narrow(1, before.length - 1, 1))
      expect(last.indexOf(Math.max(...last))).toBe(token)
    }
    const other = { ...options, src_prepend_embeds: front.mul(-3) }
    expect(numbers(await model.generate(prompt, start, 4, other))).not.toEqual(tokens)
  })
})

describe('continuous values', () => {
  it('are generated as vectors, with and without a batch axis', async () => {
    const model = new ContinuousAutoregressiveWrapper(continuous())
    expect((await model.generate(randn([1, 3]), 7)).shape).toEqual([7, 3])
    expect((await model.generate(randn([2, 4, 3]), 5)).shape).toEqual([2, 5, 3])
    const start = randn([2, 3])
    expect(numbers(model.generateSync(start, 4))).toEqual(numbers(await model.generate(start, 4)))
  })

  it('count in the loss where the mask is true', async () => {
    const model = new ContinuousAutoregressiveWrapper(continuous()).eval()
    const x = randn([2, 8, 3])
    const mask = tensor([
      [true, true, true, true, true, true, true, true],
      [true, true, true, true, false, false, false, false],
    ])
    const masked = (await model.forward(x, { mask })).item()
    expect(masked).not.toBe((await model.forward(x)).item())
    expect((await model.forward(x, { mask: mask.slice(1, 0, 7) })).item()).toBe(masked)
  })
})
