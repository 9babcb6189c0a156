import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  Decoder,
  type GenerateOptions,
  SGD,
  type StreamOptions,
  type Tensor,
  TransformerWrapper,
  type XTransformer,
} from 'x-transformers'
import { waves } from './features.js'
import { bytesInUse, collect, expectClose, ids, numbers, smallModel } from './helpers.js'
import { xTransformer } from './zoo.js'

/** The penalty keeps a row from repeating one token. */
const GREEDY = { temperature: 0, repetition_penalty: 1.5 }

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

describe('streams with cached keys and values', () => {
  it('are independent of each other, with prompts and ends of different lengths', async () => {
    const model = smallModel({ depth: 2, shift_tokens: 1, rel_pos_bias: true })
    const lengths = [3, 1, 9, 16, 20]
    const open = (length: number, cache_kv: boolean) =>
      model.stream<number[]>(ids(2, length), 30 - length, { ...GREEDY, cache_kv })
    const want: number[][][] = []
    for (const length of lengths) want.push(await all(open(length, false)))
    expect(await Promise.all(lengths.map((length) => all(open(length, true))))).toEqual(want)
    // by hand, one after the other
    const streams = lengths.map((length) => open(length, true)[Symbol.asyncIterator]())
    const got: number[][][] = lengths.map(() => [])
    for (let i = 0; i < 30; i++) {
      for (const [which, stream] of streams.entries()) {
        const { done, value } = await stream.next()
        if (!done) got[which]?.push(value)
      }
    }
    expect(got).toEqual(want)
  })

  it('give what generate gives, also for encoders with decoders', async () => {
    const model = xTransformer()
    const run = (cache_kv: boolean) =>
      all(model.stream<number[]>(ids(2, 5), ids(2, 2), 12, { ...GREEDY, cache_kv }))
    const streamed = await run(true)
    expect(streamed).toEqual(await run(false))
    const tokens = (await model.generate(ids(2, 5), ids(2, 2), 12, GREEDY)).toArray() as number[][]
    expect(streamed).toEqual(streamed.map((_, i) => tokens.map((row) => row[i])))
  })
})

describe('changing weights between two tokens', () => {
  type Open = (options: StreamOptions) => AsyncIterable<number[]>

  /** A stream that also records its logits. */
  function recordStream(open: Open, cache_kv: boolean) {
    const logits: number[] = []
    const filter_logits_fn = (now: Tensor) => {
      logits.push(...numbers(now))
      return now
    }
    return {
      stream: open({ ...GREEDY, cache_kv, filter_logits_fn })[Symbol.asyncIterator](),
      logits,
      tokens: [] as number[],
    }
  }

  /** Reads a cached and an uncached stream alternately; `change` is called between tokens. */
  async function check(open: Open, change: () => unknown) {
    const before = (await all(open({ ...GREEDY, cache_kv: false }))).flat()
    const [kept, plain] = [recordStream(open, true), recordStream(open, false)]
    for (let i = 0; i < 12; i++) {
      for (const { stream, tokens } of [kept, plain]) tokens.push(...(await stream.next()).value)
      if (i % 4 === 2) await change()
    }
    expect(kept.tokens).toEqual(plain.tokens)
    expectClose(kept.logits, plain.logits, 1e-4)
    // the change has an effect
    expect(kept.tokens).not.toEqual(before)
  }

  it('affects the next token: steps of an optimizer', async () => {
    const model = smallModel({ depth: 2 })
    const optimizer = new SGD(model.parameters(), { lr: 0.5 })
    await check(
      (options) => model.stream<number[]>(ids(2, 3), 12, options),
      async () => {
        await (await model.forward(ids(2, 9))).backward()
        await optimizer.step()
        optimizer.zeroGrad()
      },
    )
  })

  it('affects the next token: a state dict, also of a model inside', async () => {
    const model = smallModel({ depth: 2 })
    const others = [
      smallModel({ depth: 2 }).net,
      smallModel({ depth: 2 }).net,
      smallModel({ depth: 2 }).net,
    ]
    await check(
      (options) => model.stream<number[]>(ids(2, 3), 12, options),
      () => model.net.loadStateDict(others.pop()?.stateDict() ?? new Map()),
    )
  })

  it('affects the next token: with an encoder', async () => {
    const model: XTransformer = xTransformer()
    const optimizer = new AdamW(model.parameters(), { lr: 0.1 })
    await check(
      (options) => model.stream<number[]>(ids(2, 5), ids(2, 2), 12, options),
      async () => {
        await (await model.forward(ids(2, 5), ids(2, 6))).backward()
        await optimizer.step()
        optimizer.zeroGrad()
      },
    )
  })
})

describe('the memory of cached keys and values', () => {
  const ROWS = 8
  const layers = () => new Decoder({ dim: 32, depth: 2, heads: 4, attn_dim_head: 64 })
  const model = () =>
    new AutoregressiveWrapper(
      new TransformerWrapper({ num_tokens: 11, max_seq_len: 512, attn_layers: layers() }),
    )
  /** Bytes of the cache at the first step, which has space for at least 256 positions. */
  const KEPT = 2 * 2 * ROWS * 4 * 256 * 64 * 4
  const SLACK = 64 * 1024

  /** Bytes in use after garbage collection. */
  async function used(): Promise<number> {
    await collect()
    return bytesInUse()
  }

  it('is allocated between two tokens, and freed once the loop is left', async () => {
    const { stream } = streaming(model())
    await all(stream({}, 2))
    const before = await used()
    for (const cache_kv of [true, false]) {
      let tokens = 0
      for await (const _ of stream({ cache_kv })) {
        if (++tokens < 3) continue
        const more = (await used()) - before
        if (cache_kv) expect(more).toBeGreaterThan(KEPT)
        else expect(more).toBeLessThan(SLACK)
        break
      }
      expect((await used()) - before).toBeLessThan(SLACK)
    }
  })

  it('is freed at the end, after an abort, and after an error of the reader', async () => {
    const { stream, generate } = streaming(model())
    await all(stream({}, 2))
    const before = await used()
    await all(stream({}, 5))
    expect((await used()) - before).toBeLessThan(SLACK)
    const controller = new AbortController()
    const left = stream({ signal: controller.signal })[Symbol.asyncIterator]()
    await left.next()
    const pending = left.next()
    controller.abort('enough')
    await expect(pending).rejects.toBe('enough')
    expect((await used()) - before).toBeLessThan(SLACK)
    const fails = async () => {
      for await (const _ of stream({})) throw new Error('mine')
    }
    await expect(fails()).rejects.toThrow('mine')
    expect((await used()) - before).toBeLessThan(SLACK)
    let calls = 0
    const filter_logits_fn = () => {
      if (++calls === 3) throw new Error('of the filter')
      return waves([ROWS, 11])
    }
    await expect(generate({ filter_logits_fn })).rejects.toThrow('of the filter')
    expect((await used()) - before).toBeLessThan(SLACK)
  })

  it('is freed when the model is disposed', async () => {
    const before = await used()
    const disposed = model()
    const open = streaming(disposed).stream({})[Symbol.asyncIterator]()
    await open.next()
    expect((await used()) - before).toBeGreaterThan(KEPT)
    for (const part of [disposed.net.attn_layers, disposed.net, disposed]) part.dispose()
    await open.return?.()
    expect((await used()) - before).toBeLessThan(SLACK)
  })

  it('is freed after a generation of vectors', async () => {
    const net = new ContinuousTransformerWrapper({
      dim_in: 3,
      dim_out: 3,
      max_seq_len: 512,
      attn_layers: layers(),
    })
    const vectors = new ContinuousAutoregressiveWrapper(net)
    const run = async (count: number) =>
      (await vectors.generate(waves([ROWS, 4, 3]), count)).dispose()
    await run(1)
    const before = await used()
    await run(20)
    expect((await used()) - before).toBeLessThan(SLACK)
    const controller = new AbortController()
    const pending = vectors.generate(waves([ROWS, 4, 3]), 10_000, { signal: controller.signal })
    controller.abort('enough')
    await expect(pending).rejects.toBe('enough')
    expect((await used()) - before).toBeLessThan(SLACK)
  })

  function streaming(of: AutoregressiveWrapper) {
    return {
      stream: (options: StreamOptions & { signal?: AbortSignal }, count = 300) =>
        of.stream<number[]>(ids(ROWS, 4), count, { ...GREEDY, ...options }),
      generate: (options: GenerateOptions) => of.generate(ids(ROWS, 4), 300, options),
    }
  }
})
