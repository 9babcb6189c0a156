import { describe, expect, it } from 'vitest'
import {
  full,
  manualSeed,
  SGD,
  type Tensor,
  tensor,
  top_a,
  top_k,
  top_p,
  where,
} from 'x-transformers'
import { bytesInUse, collect, ids, numbers, smallModel, VOCABULARY } from './helpers.js'

const GREEDY = { filter_thres: 0.999 }

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

describe('generate', () => {
  it('gives new tokens in the shape of the prompt', async () => {
    const model = smallModel()
    const two = await model.generate(ids(2, 3), 5)
    expect(two.shape).toEqual([2, 5])
    expect(two.dtype).toBe('i64')
    expect(numbers(two).every((token) => token >= 0 && token < VOCABULARY)).toBe(true)
    const one = await model.generate(tensor([1, 2, 3], { dtype: 'i64' }), 4)
    expect(one.shape).toEqual([4])
  })

  it('is the same greedily in every way', async () => {
    const model = smallModel()
    const start = ids(1, 3)
    const want = numbers(await model.generate(start, 20, GREEDY))
    expect(numbers(model.generateSync(start, 20, GREEDY))).toEqual(want)
    expect(numbers(await model.generate(start, 20, { temperature: 0 }))).toEqual(want)
    expect(await all(model.stream(start, 20, GREEDY))).toEqual(want)
    const best = (logits: Tensor) =>
      where(
        logits.ge(logits.max(-1, { keepdim: true })),
        logits,
        full(logits.shape, Number.NEGATIVE_INFINITY),
      )
    expect(numbers(await model.generate(start, 20, { filter_logits_fn: best }))).toEqual(want)
    expect(numbers(model.generateSync(start, 20, { filter_logits_fn: best }))).toEqual(want)
    expect(await all(model.stream(start, 20, { filter_logits_fn: best }))).toEqual(want)
  })

  it('draws the same with the same seed', async () => {
    const model = smallModel()
    const draw = () => {
      manualSeed(4)
      return model.generate(ids(1, 3), 12, { filter_thres: 0.1 })
    }
    expect(numbers(await draw())).toEqual(numbers(await draw()))
    manualSeed(4)
    expect(await all(model.stream(ids(1, 3), 12, { filter_thres: 0.1 }))).toEqual(
      numbers(await draw()),
    )
  })

  it.each(['top_k', 'top_p', 'top_a'] as const)(
    'accepts the filter %s',
    async (filter_logits_fn) => {
      const tokens = await smallModel().generate(ids(2, 3), 6, { filter_logits_fn })
      expect(tokens.shape).toEqual([2, 6])
    },
  )

  it('does not change the mode of the model', async () => {
    const model = smallModel({ ff_dropout: 0.5 })
    await model.generate(ids(1, 3), 2)
    expect(model.training).toBe(true)
    const x = ids(2, 9)
    expect(model.forwardSync(x).item()).not.toBe(model.forwardSync(x).item())
  })

  it('reports invalid arguments', async () => {
    const model = smallModel()
    const start = ids(1, 3)
    await expect(model.generate(start, 5, { temprature: 1 } as never)).rejects.toThrow(
      /temperature/,
    )
    await expect(model.generate(start, 5, { filter_logits_fn: 'topk' as never })).rejects.toThrow(
      /top_k/,
    )
    await expect(model.generate(start, -1)).rejects.toMatchObject({ name: 'XTransformersError' })
    await expect(model.generate(['1', '2'] as never, 5)).rejects.toMatchObject({
      name: 'XTransformersError',
    })
    const wrong = model.generate(start, 5, { filter_logits_fn: () => 5 as never })
    await expect(wrong).rejects.toThrow(/must return a Tensor/)
    const shape = model.generate(start, 5, { filter_logits_fn: (logits) => logits.slice(1, 0, 2) })
    await expect(shape).rejects.toThrow(/shape \[1,11\], got \[1,2\]/)
    const throwing = model.generate(start, 5, {
      filter_logits_fn: () => {
        throw new Error('mine')
      },
    })
    await expect(throwing).rejects.toThrow('mine')
  })
})

describe('stream', () => {
  it('gives arrays for several rows', async () => {
    const model = smallModel()
    const rows = await all(model.stream<number[]>(ids(2, 3), 4, GREEDY))
    const want = (await model.generate(ids(2, 3), 4, GREEDY)).toArray() as number[][]
    expect(rows).toEqual([0, 1, 2, 3].map((i) => want.map((row) => row[i])))
  })

  it('stops when the loop is left, and frees its memory', async () => {
    const model = smallModel()
    await model.generate(ids(1, 3), 1)
    await collect()
    const before = bytesInUse()
    const start = ids(1, 3)
    let count = 0
    for await (const token of model.stream(start, 100)) {
      expect(token).toBeTypeOf('number')
      if (++count === 3) break
    }
    start.dispose()
    expect(count).toBe(3)
    await collect()
    expect(bytesInUse()).toBeLessThan(before + 4096)
  })

  it('allows training between two tokens', async () => {
    const model = smallModel()
    const optimizer = new SGD(model.parameters(), { lr: 0.1 })
    for await (const _ of model.stream(ids(1, 3), 2)) {
      const loss = await model.forward(ids(2, 9))
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
  })

  it('rejects with the reason of its signal', async () => {
    const model = smallModel()
    const controller = new AbortController()
    const reason = new Error('enough')
    const seen: number[] = []
    const run = async () => {
      for await (const token of model.stream(ids(1, 3), 50, { signal: controller.signal })) {
        seen.push(token)
        if (seen.length === 2) controller.abort(reason)
      }
    }
    await expect(run()).rejects.toBe(reason)
    expect(seen.length).toBe(2)
    await expect(model.generate(ids(1, 3), 5, { signal: controller.signal })).rejects.toBe(reason)
  })

  it('aborts generate while it runs', async () => {
    const controller = new AbortController()
    let calls = 0
    const pending = smallModel().generate(ids(1, 3), 1000, {
      signal: controller.signal,
      filter_logits_fn: (logits) => {
        if (++calls === 3) controller.abort('stop')
        return logits
      },
    })
    await expect(pending).rejects.toBe('stop')
    expect(calls).toBe(3)
  })
})

describe('filters of logits', () => {
  const logits = tensor([[1, 3, 2, 0]])
  const low = Number.NEGATIVE_INFINITY

  it('top_k keeps the largest', () => {
    expect(top_k(logits, { thres: 0.5 }).toArray()).toEqual([[low, 3, 2, low]])
    expect(top_k(logits).toArray()).toEqual([[low, 3, low, low]])
  })
  it('top_p keeps the likeliest, at least one', () => {
    expect(top_p(logits).toArray()).toEqual([[low, 3, low, low]])
  })
  it('top_a makes the likely ones equal', () => {
    expect(top_a(logits).toArray()).toEqual([
      [1, 1, 1, 1].map((x, i) => (i === 3 ? expect.any(Number) : x)),
    ])
  })
  it('check their options', () => {
    expect(() => top_k(logits, { thresh: 0.5 } as never)).toThrow()
    expect(() => top_k([1] as never)).toThrow(/logits must be a Tensor/)
  })
})
