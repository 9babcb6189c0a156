import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  Decoder,
  type Tensor,
  TransformerWrapper,
  tensor,
} from 'x-transformers'
import { bytesInUse, collect, ids, numbers, smallModel } from './helpers.js'

const GREEDY = { temperature: 0 }

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

const rows = (tokens: Tensor) => tokens.toArray() as number[][]

describe('prompts of different lengths', () => {
  const prompts = [[3, 1, 4], [5], [2, 6]]
  const padded = (left: boolean) => {
    const fill = (row: number[], value: number) => {
      const more = Array<number>(3 - row.length).fill(value)
      return left ? [...more, ...row] : [...row, ...more]
    }
    const start = tensor(
      prompts.map((row) => fill(row, 9)),
      { dtype: 'i64' },
    )
    const mask = tensor(
      prompts.map((row) =>
        fill(
          row.map(() => 1),
          0,
        ).map((bit) => bit === 1),
      ),
    )
    return { start, mask }
  }

  it.each([{}, { rotary_pos_emb: true }, { alibi_pos_bias: true }, { shift_tokens: 1 }])(
    'continue as each does alone, with %o',
    async (layers) => {
      const model = smallModel(layers)
      const want: number[][] = []
      for (const prompt of prompts)
        want.push(numbers(await model.generate(tensor(prompt, { dtype: 'i64' }), 16, GREEDY)))
      for (const left of [true, false]) {
        const { start, mask } = padded(left)
        expect(rows(await model.generate(start, 16, { temperature: 0, mask }))).toEqual(want)
        const streamed = await all(model.stream<number[]>(start, 16, { temperature: 0, mask }))
        expect(streamed).toEqual(Array.from({ length: 16 }, (_, i) => want.map((row) => row[i])))
      }
    },
  )

  it('need a token in each row', async () => {
    const { start } = padded(true)
    const none = tensor(prompts.map(() => [false, false, false]))
    await expect(smallModel().generate(start, 2, { mask: none })).rejects.toThrow(
      /row 0 of mask is false everywhere/,
    )
  })
})

describe('several streams of one model', () => {
  it('are independent of each other, each with its own random numbers', async () => {
    const model = smallModel()
    const options = (seed: number) => ({ filter_thres: 0, seed })
    const want: number[][] = []
    for (const seed of [1, 2, 3])
      want.push(await all(model.stream(ids(1, seed + 1), 20, options(seed))))
    const streams = [1, 2, 3].map((seed) => all(model.stream(ids(1, seed + 1), 20, options(seed))))
    expect(await Promise.all(streams)).toEqual(want)
    // by hand, one after the other
    const open = [1, 2, 3].map((seed) =>
      model.stream(ids(1, seed + 1), 20, options(seed))[Symbol.asyncIterator](),
    )
    const got: number[][] = [[], [], []]
    for (let i = 0; i < 20; i++) {
      for (const [which, stream] of open.entries())
        got[which]?.push((await stream.next()).value as number)
    }
    expect(got).toEqual(want)
  })

  it('end independently: one that is left or aborted does not affect the others', async () => {
    const model = smallModel()
    const want = await all(model.stream(ids(1, 3), 20, GREEDY))
    const controller = new AbortController()
    const aborted = all(model.stream(ids(1, 4), 20_000, { ...GREEDY, signal: controller.signal }))
    const ended = expect(aborted).rejects.toBe('enough')
    const got: number[] = []
    for await (const token of model.stream(ids(1, 3), 20, GREEDY)) {
      got.push(token)
      if (got.length === 3) controller.abort('enough')
      if (got.length === 5) for await (const _ of model.stream(ids(1, 5), 20, GREEDY)) break
    }
    await ended
    expect(got).toEqual(want)
  })
})

describe('the signal of a stream', () => {
  it('ends it during the current token, and frees its memory', async () => {
    const model = new AutoregressiveWrapper(
      new TransformerWrapper({
        num_tokens: 64,
        max_seq_len: 512,
        attn_layers: new Decoder({ dim: 128, depth: 12, heads: 4 }),
      }),
    )
    const start = ids(2, 512, 64)
    let before = Date.now()
    await model.generate(start, 1)
    const whole = Date.now() - before
    await collect()
    const bytes = bytesInUse()
    const controller = new AbortController()
    const stream = model
      .stream<number[]>(start, 50, { signal: controller.signal })
      [Symbol.asyncIterator]()
    await stream.next()
    before = Date.now()
    const pending = stream.next()
    controller.abort('enough')
    await expect(pending).rejects.toBe('enough')
    expect(Date.now() - before).toBeLessThan(2 * whole + 200)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
    await collect()
    expect(bytesInUse()).toBeLessThan(bytes + 4096)
  })
})
