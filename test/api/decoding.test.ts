import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  manualSeed,
  type Tensor,
  tensor,
  XTransformer,
  XTransformersError,
} from 'x-transformers'
import { ids, largerModel, numbers, smallModel, smallNet, VOCABULARY } from './helpers.js'

const GREEDY = { temperature: 0 }

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

const rows = (tokens: Tensor) => tokens.toArray() as number[][]

/** The options that the error of a call names. */
async function problems(call: Promise<unknown>): Promise<string[]> {
  const error = await call.then(
    () => null,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(XTransformersError)
  expect(error).toMatchObject({ code: 'invalid_options' })
  return (error as XTransformersError).message
    .split('\n')
    .flatMap((line) => line.match(/^\s*(?:- )?(\w+): /)?.[1] ?? [])
}

function small(): XTransformer {
  return new XTransformer({
    ...{ dim: 16, enc_num_tokens: 11, enc_max_seq_len: 8, enc_depth: 1, enc_heads: 2 },
    ...{ dec_num_tokens: 11, dec_max_seq_len: 8, dec_depth: 1, dec_heads: 2 },
  })
}

describe('filters with plain names', () => {
  it('leave one token when they are strict', async () => {
    const model = smallModel()
    const start = ids(2, 3)
    const want = numbers(await model.generate(start, 12, GREEDY))
    for (const narrow of [{ top_k_tokens: 1 }, { nucleus_p: 1e-6 }, { min_p: 1 }]) {
      expect(numbers(await model.generate(start, 12, narrow)), JSON.stringify(narrow)).toEqual(want)
      expect(numbers(model.generateSync(start, 12, narrow))).toEqual(want)
      expect((await all(model.stream<number[]>(start, 12, narrow))).flat().length).toBe(24)
    }
  })

  it('replace top_k, which is the default', async () => {
    const model = smallModel()
    const drawn = await model.generate(ids(1, 3), 300, {
      top_k_tokens: VOCABULARY,
      temperature: 100,
      seed: 1,
    })
    // filter_thres 0.9 of 11 tokens would leave two at each step
    expect(new Set(numbers(drawn)).size).toBe(VOCABULARY)
  })

  it('are applied after a filter of the caller', async () => {
    const model = smallModel()
    const even = tensor(Array.from({ length: VOCABULARY }, (_, id) => id % 2 === 0))
    const filter_logits_fn = (logits: Tensor) => even.where(logits, Number.NEGATIVE_INFINITY)
    const greedy = numbers(
      await model.generate(ids(1, 3), 12, { filter_logits_fn, temperature: 0 }),
    )
    expect(greedy.every((token) => token % 2 === 0)).toBe(true)
    expect(
      numbers(await model.generate(ids(1, 3), 12, { filter_logits_fn, top_k_tokens: 1 })),
    ).toEqual(greedy)
  })
})

describe('repetition_penalty', () => {
  it('gives more different tokens', async () => {
    manualSeed(2)
    const model = smallModel()
    const distinct = async (repetition_penalty: number) =>
      new Set(numbers(await model.generate(ids(1, 2), 30, { temperature: 0, repetition_penalty })))
        .size
    expect(await distinct(5)).toBeGreaterThan(await distinct(1))
  })
})

describe('seed', () => {
  it('makes a call repeatable and does not affect other calls', async () => {
    const model = smallModel()
    const draw = (seed?: number) =>
      model.generate(ids(1, 3), 16, { filter_thres: 0, ...(seed !== undefined && { seed }) })
    manualSeed(1)
    const first = numbers(await draw(5))
    const next = numbers(await draw())
    manualSeed(1)
    await draw(6)
    expect(numbers(await draw())).toEqual(next)
    expect(numbers(await draw(5))).toEqual(first)
    expect(await all(model.stream(ids(1, 3), 16, { filter_thres: 0, seed: 5 }))).toEqual(first)
    expect(numbers(model.generateSync(ids(1, 3), 16, { filter_thres: 0, seed: 5 }))).toEqual(first)
    expect(numbers(await draw(2 ** 53 - 1))).not.toEqual(first)
    expect(await problems(draw(-1))).toEqual(['seed'])
    expect(await problems(draw(0.5))).toEqual(['seed'])
  })
})

describe('a filter of the caller', () => {
  it('may force a token with Infinity', async () => {
    const model = smallModel()
    const sevens = tensor(Array.from({ length: VOCABULARY }, (_, id) => id === 7))
    const filter_logits_fn = (logits: Tensor) => sevens.where(Number.POSITIVE_INFINITY, logits)
    for (const options of [{}, GREEDY, { nucleus_p: 0.9 }]) {
      expect(numbers(await model.generate(ids(1, 3), 4, { ...options, filter_logits_fn }))).toEqual(
        [7, 7, 7, 7],
      )
    }
  })

  it('rejects options of the filters that it replaces', async () => {
    const model = smallModel()
    const own = { filter_logits_fn: (logits: Tensor) => logits }
    const generate = (options: object) => problems(model.generate(ids(1, 3), 4, options))
    expect(await generate({ ...own, filter_thres: 0.9 })).toEqual(['filter_thres'])
    expect(await generate({ ...own, min_p_pow: 2, min_p_ratio: 0.02 })).toEqual([
      'min_p_pow',
      'min_p_ratio',
    ])
    expect(await generate({ nucleus_p: 0.9, filter_thres: 0.9 })).toEqual(['filter_thres'])
    expect(await generate({ num_beams: 2, filter_thres: 0.9, seed: 1 })).toEqual([
      'seed',
      'filter_thres',
    ])
  })
})

describe('prompts', () => {
  it('without a batch axis accept a mask without one, and any padding token', async () => {
    const model = smallModel()
    const want = numbers(await model.generate(tensor([1, 2], { dtype: 'i64' }), 4, GREEDY))
    const mask = tensor([true, true, false])
    const start = tensor([1, 2, -1], { dtype: 'i64' })
    expect(numbers(await model.generate(start, 4, { ...GREEDY, mask }))).toEqual(want)
    const both = tensor([[1, 2, -1]], { dtype: 'i64' })
    expect(
      rows(await model.generate(both, 4, { ...GREEDY, mask: tensor([[true, true, false]]) })),
    ).toEqual([want])
  })
})

describe('num_return_sequences', () => {
  it('groups the rows of a prompt', async () => {
    const model = smallModel()
    const tokens = await model.generate(ids(2, 3), 5, {
      num_return_sequences: 3,
      seed: 1,
      filter_thres: 0,
    })
    expect(tokens.shape).toEqual([6, 5])
    const one = await model.generate(tensor([1, 2], { dtype: 'i64' }), 5, {
      num_return_sequences: 2,
      top_k_tokens: 1,
    })
    expect(one.shape).toEqual([2, 5])
    const [a, b] = rows(one)
    expect(a).toEqual(b)
    const streamed = await all(model.stream<number[]>(ids(1, 3), 4, { num_return_sequences: 3 }))
    expect(streamed.map((row) => row.length)).toEqual([3, 3, 3, 3])
  })

  it('works with an encoder, which runs once', async () => {
    const model = small()
    const options = { num_return_sequences: 2, top_k_tokens: 1 }
    const got = rows(await model.generate(ids(2, 5), ids(2, 2), 4, options))
    const want = rows(await model.generate(ids(2, 5), ids(2, 2), 4, GREEDY))
    expect(got).toEqual(want.flatMap((row) => [row, row]))
  })
})

describe('beam search', () => {
  it('finds the likeliest of all sequences if there are enough beams', async () => {
    const model = smallModel()
    const start = ids(2, 4)
    const likelihood = async (tokens: Tensor) => {
      const both = rows(start).map((row, i) => [...row, ...(rows(tokens)[i] ?? [])])
      const { log_probs } = await model.score(tensor(both, { dtype: 'i64' }))
      return (log_probs.toArray() as number[][]).map((row) =>
        row.slice(3).reduce((a, b) => a + b, 0),
      )
    }
    const options = { num_beams: VOCABULARY ** 2 }
    const beams = await model.generate(start, 3, options)
    expect(beams.shape).toEqual([2, 3])
    const best = await likelihood(beams)
    const others = [
      await model.generate(start, 3, GREEDY),
      ...[1, 2, 3].map((seed) => model.generateSync(start, 3, { seed })),
    ]
    for (const other of others) {
      for (const [i, found] of (await likelihood(other)).entries()) {
        expect(best[i]).toBeGreaterThanOrEqual(found - 1e-4)
      }
    }
    expect(numbers(model.generateSync(start, 3, options))).toEqual(numbers(beams))
  })

  it('gives the best sequences of each prompt, the best first, and ends with eos_token', async () => {
    const model = smallModel()
    const options = {
      num_beams: 4,
      num_return_sequences: 4,
      eos_token: [1, 7, 8],
      length_penalty: 0.5,
    }
    const found = rows(await model.generate(ids(2, 3), 10, options))
    expect(found.length).toBe(8)
    expect(new Set(found.slice(0, 4).map(String)).size).toBe(4)
    for (const row of found) {
      const end = row.findIndex((token) => options.eos_token.includes(token))
      if (end >= 0) expect(row.slice(end + 1).every((token) => token === 0)).toBe(true)
    }
  })

  it('works with an encoder', async () => {
    const model = small()
    const both = rows(await model.generate(ids(2, 5), ids(2, 1), 5, { num_beams: 3 }))
    const first = rows(
      await model.generate(ids(2, 5).slice(0, 0, 1), ids(2, 1).slice(0, 0, 1), 5, { num_beams: 3 }),
    )
    expect(both[0]).toEqual(first[0])
  })

  it('reports all incompatible options at once', async () => {
    const model = smallModel()
    const start = ids(1, 3)
    const wrong = {
      num_beams: 2,
      num_return_sequences: 3,
      temperature: 0.5,
      top_k_tokens: 2,
      nucleus_p: 0.5,
    }
    const filter_logits_fn = (logits: Tensor) => logits
    const names = [
      'filter_logits_fn',
      'top_k_tokens',
      'nucleus_p',
      'temperature',
      'num_return_sequences',
    ]
    expect(await problems(model.generate(start, 3, { ...wrong, filter_logits_fn }))).toEqual(names)
    expect(() => model.generateSync(start, 3, { ...wrong, filter_logits_fn })).toThrow(/nucleus_p/)
    expect(await problems(small().generate(start, start, 3, wrong))).toEqual(names.slice(1))
    expect(await problems(model.generate(start, 3, { length_penalty: 2 }))).toEqual([
      'length_penalty',
    ])
    const stream = model.stream(start, 3, { num_beams: 2, temperature: -1 } as never)
    expect(await problems(all(stream))).toEqual(['temperature', 'num_beams'])
  })

  it('is aborted between two tokens', async () => {
    const controller = new AbortController()
    const pending = largerModel().generate(ids(1, 3), 200, {
      num_beams: 2,
      signal: controller.signal,
    })
    setTimeout(() => controller.abort('enough'), 20)
    await expect(pending).rejects.toBe('enough')
  })
})

describe('rows that end', () => {
  /** A filter that leaves one token for each step and row. */
  const steered = (wanted: number[][]) => {
    let step = 0
    return (logits: Tensor) => {
      const row = (token: number) => Array.from({ length: VOCABULARY }, (_, id) => id === token)
      return tensor((wanted[step++] as number[]).map(row)).where(logits, Number.NEGATIVE_INFINITY)
    }
  }
  const wanted = [
    [4, 5, 6],
    [6, 7, 8],
    [9, 4, 8],
    [6, 6, 7],
    [5, 5, 5],
  ]
  const model = new AutoregressiveWrapper(smallNet(), { pad_value: 99 })
  const start = tensor([[1], [2], [3]], { dtype: 'i64' })

  it('are padded from then on, in generate and in stream, which end with the last one', async () => {
    const options = () => ({ eos_token: [4, 7], filter_logits_fn: steered(wanted) })
    const steps = [
      [4, 5, 6],
      [99, 7, 8],
      [99, 99, 8],
      [99, 99, 7],
    ]
    const streamed = await all(model.stream<number[]>(start, 5, options()))
    expect(streamed).toEqual(steps)
    const want = [0, 1, 2].map((row) => steps.map((step) => step[row]))
    expect(rows(await model.generate(start, 5, options()))).toEqual(want)
    expect(rows(model.generateSync(start, 5, options()))).toEqual(want)
  })

  it('are padded also while others continue', async () => {
    const tokens = await model.generate(start, 3, {
      eos_token: 4,
      filter_logits_fn: steered(wanted),
    })
    expect(rows(tokens)).toEqual([
      [4, 99, 99],
      [5, 7, 4],
      [6, 8, 8],
    ])
  })
})
