import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import { tensor } from 'x-transformers/worker'
import type { Port, ToWorker } from '../../ts/worker/protocol.js'
import {
  collect,
  smallModel as mainModel,
  numbers as mainNumbers,
  ids as mainTokens,
} from '../api/helpers.js'
import { all, ids, LAYERS, library, numbers, smallModel, smallNet } from './helpers.js'

const DRAWN = { filter_thres: 0.1 }

/** Waits for messages in both directions. */
const flushMessages = () => new Promise((resolve) => setTimeout(resolve, 50))

/** Records the messages of the page. */
function recordMessages(log: ToWorker[]) {
  return (port: Port) => {
    const post = port.postMessage.bind(port)
    port.postMessage = (message, transfer) => {
      log.push(message as ToWorker)
      post(message, transfer)
    }
    return port
  }
}

describe('generate in a worker', () => {
  it('draws the same tokens as the main library', async () => {
    main.manualSeed(4)
    const want = await mainModel().generate(mainTokens(2, 3), 12, DRAWN)
    const x = await library()
    x.manualSeed(4)
    const got = await smallModel(x).generate(ids(2, 3), 12, DRAWN)
    expect(got.shape).toEqual([2, 12])
    expect(got.dtype).toBe('i64')
    expect(numbers(got)).toEqual(mainNumbers(want))
  })

  it('works for vectors, masks, and encoders with decoders', async () => {
    const x = await library()
    const vectors = new x.ContinuousAutoregressiveWrapper(
      new x.ContinuousTransformerWrapper({
        dim_in: 3,
        dim_out: 3,
        max_seq_len: 8,
        attn_layers: new x.Decoder(LAYERS),
      }),
    )
    expect((await vectors.generate(tensor([[1, 2, 3]]), 5)).shape).toEqual([5, 3])
    const net = new x.TransformerWrapper({
      num_tokens: 11,
      max_seq_len: 8,
      attn_layers: new x.Encoder(LAYERS),
    })
    const masked = new x.NonAutoregressiveWrapper(net, { mask_id: 10, steps: 3 })
    expect((await masked.generate({ batch_size: 2 })).shape).toEqual([2, 8])
    expect((await masked.generate()).shape).toEqual([8])
    const [enc, dec] = [
      { enc_num_tokens: 11, enc_max_seq_len: 8, enc_depth: 1, enc_heads: 2 },
      { dec_num_tokens: 11, dec_max_seq_len: 8, dec_depth: 1, dec_heads: 2 },
    ]
    const both = new x.XTransformer({ dim: 16, ...enc, ...dec })
    const want = numbers(await both.generate(ids(1, 4), ids(1, 1), 5, { temperature: 0 }))
    expect(await all(both.stream(ids(1, 4), ids(1, 1), 5, { temperature: 0 }))).toEqual(want)
  })

  it('accepts beams, several end tokens, seeds and prompts of different lengths', async () => {
    const x = await library()
    const [model, same] = [smallModel(x), mainModel()]
    // the same weights
    await model.loadStateDict(new Map([...same.stateDict()]))
    const options = { num_beams: 3, num_return_sequences: 2, eos_token: [1, 7] }
    expect(numbers(await model.generate(ids(2, 3), 6, options))).toEqual(
      mainNumbers(await same.generate(mainTokens(2, 3), 6, options)),
    )
    const seeded = { seed: 3, filter_thres: 0, num_return_sequences: 2 }
    const drawn = numbers(await model.generate(ids(2, 3), 6, seeded))
    expect(drawn).toEqual(mainNumbers(await same.generate(mainTokens(2, 3), 6, seeded)))
    expect(numbers(await model.generate(ids(2, 3), 6, seeded))).toEqual(drawn)
    const mask = tensor([
      [true, false, false],
      [true, true, true],
    ])
    const [first] = (
      await model.generate(ids(2, 3), 5, { temperature: 0, mask })
    ).toArray() as number[][]
    expect(first).toEqual(numbers(await model.generate(ids(1, 1), 5, { temperature: 0 })))
    await expect(model.generate(ids(1, 3), 5, { num_beams: 2, min_p: 0.5 })).rejects.toThrow(
      /min_p/,
    )
    await expect(all(model.stream(ids(1, 3), 5, { num_beams: 2 } as never))).rejects.toThrow(
      /num_beams/,
    )
  })

  it('caches keys and values, and reports models that cannot', async () => {
    const x = await library()
    const model = smallModel(x)
    expect(await model.cacheable()).toEqual({ cached: true, reason: null })
    const run = async (cache_kv: boolean) =>
      numbers(await model.generate(ids(2, 3), 20, { seed: 2, cache_kv }))
    const tokens = await run(true)
    expect(tokens).toEqual(await run(false))
    for (const cache_kv of [true, false]) {
      const streamed = await all(model.stream<number[]>(ids(2, 3), 20, { seed: 2, cache_kv }))
      expect(streamed.flat()).toEqual(streamed.flatMap((_, i) => [tokens[i], tokens[20 + i]]))
    }
    const vectors = new x.ContinuousAutoregressiveWrapper(
      new x.ContinuousTransformerWrapper({
        ...{ dim_in: 3, dim_out: 3, max_seq_len: 8 },
        attn_layers: new x.Decoder({ ...LAYERS, rotary_xpos: true }),
      }),
    )
    expect(await vectors.cacheable()).toEqual({
      cached: false,
      reason: expect.stringContaining('rotary_xpos'),
    })
    const half = (name: string) => ({
      [`${name}_num_tokens`]: 11,
      [`${name}_max_seq_len`]: 8,
      [`${name}_depth`]: 1,
    })
    const both = new x.XTransformer({ dim: 16, ...half('enc'), ...half('dec') } as never)
    expect(await both.cacheable()).toEqual({ cached: true, reason: null })
  })

  it('computes scores', async () => {
    const x = await library()
    const [model, same] = [smallModel(x), mainModel()]
    await model.loadStateDict(new Map([...same.stateDict()]))
    const { log_probs, perplexity } = await model.score(ids(2, 5))
    const want = await same.score(mainTokens(2, 5))
    expect([log_probs.shape, perplexity.shape]).toEqual([[2, 4], [2]])
    expect(numbers(log_probs)).toEqual(mainNumbers(want.log_probs))
    expect(numbers(perplexity)).toEqual(mainNumbers(want.perplexity))
    await expect(model.score(ids(1, 1))).rejects.toThrow(/length at least 2/)
    const half = (name: string) => ({
      [`${name}_num_tokens`]: 11,
      [`${name}_max_seq_len`]: 8,
      [`${name}_depth`]: 1,
    })
    const both = new x.XTransformer({ dim: 16, ...half('enc'), ...half('dec') } as never)
    expect((await both.score(ids(2, 4), ids(2, 3))).log_probs.shape).toEqual([2, 2])
  })

  it('reports invalid arguments', async () => {
    const x = await library()
    const model = smallModel(x)
    await expect(model.generate(ids(1, 3), 5, { temprature: 1 } as never)).rejects.toThrow(
      /temperature/,
    )
    await expect(
      model.generate(ids(1, 3), 5, { filter_logits_fn: (y: unknown) => y } as never),
    ).rejects.toThrow(/filter_logits_fn is a function, which cannot go to a worker/)
    await expect(model.generate(['1', '2'] as never, 5)).rejects.toMatchObject({
      name: 'XTransformersError',
    })
    expect(() => model.stream(ids(1, 3), 5, { filter_logits_fn: () => 1 } as never)).toThrow(
      /cannot go to a worker/,
    )
    await expect(all(model.stream(ids(1, 3), 5, { temprature: 1 } as never))).rejects.toThrow(
      /temperature/,
    )
  })

  it('can be aborted', async () => {
    const x = await library()
    const model = smallModel(x)
    const controller = new AbortController()
    const reason = new Error('enough')
    const pending = model.generate(ids(1, 3), 100_000, { signal: controller.signal })
    const queued = model.generate(ids(1, 3), 100_000, { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 10)
    await expect(pending).rejects.toBe(reason)
    await expect(queued).rejects.toBe(reason)
    await expect(model.generate(ids(1, 3), 2, { signal: controller.signal })).rejects.toBe(reason)
    expect((await model.generate(ids(1, 3), 2)).shape).toEqual([1, 2])
  })
})

describe('stream in a worker', () => {
  it('gives the tokens of the main library, one by one', async () => {
    main.manualSeed(4)
    const want = await all(mainModel().stream(mainTokens(1, 3), 20, DRAWN))
    const x = await library()
    x.manualSeed(4)
    expect(await all(smallModel(x).stream(ids(1, 3), 20, DRAWN))).toEqual(want)
  })

  it('gives arrays for several rows', async () => {
    const x = await library()
    const model = smallModel(x)
    const rows = await all(model.stream<number[]>(ids(2, 3), 4, { temperature: 0 }))
    const want = (await model.generate(ids(2, 3), 4, { temperature: 0 })).toArray() as number[][]
    expect(rows).toEqual([0, 1, 2, 3].map((i) => want.map((row) => row[i])))
  })

  it('gives padding for a row that has ended', async () => {
    const x = await library()
    const model = new x.AutoregressiveWrapper(smallNet(x), { pad_value: 99 })
    const start = tensor([[3], [5]], { dtype: 'i64' })
    // token 3 is in the first prompt, which counts
    const rows = await all(model.stream<number[]>(start, 4, { eos_token: [3], top_k_tokens: 1 }))
    expect(rows[0]?.[0]).toBe(99)
    expect(rows.length).toBeGreaterThan(0)
    expect(rows.every((row) => row[0] === 99 && row.length === 2)).toBe(true)
  })

  it('computes only a few tokens ahead of its reader', async () => {
    const log: ToWorker[] = []
    const x = await library(recordMessages(log))
    const model = smallModel(x)
    const pulled = () =>
      log.reduce((sum, message) => sum + (message.type === 'pull' ? message.count : 0), 0)
    const stream = model.stream(ids(1, 3), 50)
    await flushMessages()
    expect(pulled()).toBe(0)
    await stream.next()
    await flushMessages()
    expect(pulled()).toBe(4)
    await stream.next()
    expect(pulled()).toBe(5)
    // concurrent reads each get their own token
    const more = await Promise.all([stream.next(), stream.next(), stream.next()])
    expect(more.every(({ done, value }) => !done && typeof value === 'number')).toBe(true)
    expect(1 + 1 + 3 + (await all(stream)).length).toBe(50)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })

  it('ends in the worker when the loop is left', async () => {
    const log: ToWorker[] = []
    const x = await library(recordMessages(log))
    const model = smallModel(x)
    const only = async (count: number) => {
      for await (const _ of model.stream(ids(1, 3), 100)) if (--count === 0) break
      await flushMessages()
      await collect()
      return (await x.memory()).native_bytes
    }
    const before = await only(3)
    expect(log.at(-2)).toMatchObject({ type: 'abort' })
    for (let i = 0; i < 5; i++) await only(3)
    expect(await only(3)).toBeLessThan(before + 4096)
  })

  it('allows other calls between two tokens', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.SGD(model, { lr: 0.1 })
    let count = 0
    for await (const _ of model.stream(ids(1, 3), 6)) {
      await x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })
      count++
    }
    expect(count).toBe(6)
  })

  it('may run concurrently with another one', async () => {
    const x = await library()
    const model = smallModel(x)
    const greedy = { temperature: 0 }
    const [a, b] = [
      numbers(await model.generate(ids(1, 3), 9, greedy)),
      numbers(await model.generate(ids(1, 5), 9, greedy)),
    ]
    const both = await Promise.all([
      all(model.stream(ids(1, 3), 9, greedy)),
      all(model.stream(ids(1, 5), 9, greedy)),
    ])
    expect(both).toEqual([a, b])
  })

  it('rejects with the reason of its signal immediately', async () => {
    const x = await library()
    const model = smallModel(x)
    const controller = new AbortController()
    const { signal } = controller
    const reason = new Error('enough')
    const seen: number[] = []
    const run = async () => {
      for await (const token of model.stream(ids(1, 3), 50, { signal })) {
        seen.push(token)
        if (seen.length === 2) controller.abort(reason)
      }
    }
    await expect(run()).rejects.toBe(reason)
    expect(seen.length).toBe(2)
    const late = model.stream(ids(1, 3), 50, { signal })
    await expect(late.next()).rejects.toBe(reason)
    expect(await late.next()).toEqual({ done: true, value: undefined })
    expect(() => model.stream(ids(1, 3), 50, { signal: 1 } as never)).toThrow(/AbortSignal/)
  })

  it('ends with the worker', async () => {
    const x = await library()
    const stream = smallModel(x).stream(ids(1, 3), 50)
    await stream.next()
    const pending = Promise.allSettled([
      stream.next(),
      stream.next(),
      stream.next(),
      stream.next(),
      stream.next(),
    ])
    x.terminate()
    const results = await pending
    expect(results.some(({ status }) => status === 'rejected')).toBe(true)
    const late = smallModel(x).stream(ids(1, 3), 50)
    await expect(late.next()).rejects.toMatchObject({ code: 'terminated' })
  })

  it.skipIf(!globalThis.gc)('ends in the worker when it is garbage collected', async () => {
    const log: ToWorker[] = []
    const x = await library(recordMessages(log))
    const model = smallModel(x)
    await (async () => {
      model.stream(ids(1, 3), 50)
      await model.stream(ids(1, 3), 50, { signal: new AbortController().signal }).next()
    })()
    await flushMessages()
    await collect()
    await collect()
    expect(log.filter(({ type }) => type === 'abort').length).toBe(2)
    await model.ready
  })
})
