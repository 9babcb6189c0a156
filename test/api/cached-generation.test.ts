import { beforeEach, describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  Decoder,
  Encoder,
  type GenerateOptions,
  manualSeed,
  type Tensor,
  TransformerWrapper,
  XTransformer,
} from 'x-transformers'
import {
  ALONG,
  bits,
  context,
  DIM,
  EMBEDDINGS,
  FEATURES,
  type Layers,
  type Net,
  WITHOUT_CONTEXT,
  waves,
} from './features.js'
import { expectClose, ids, numbers, VOCABULARY } from './helpers.js'

/** `max_seq_len` of the models. Generations exceed it. */
const WINDOW = 16
const NEW = 18

const decoder = (layers: Layers = {}) =>
  new Decoder({ dim: DIM, depth: 2, heads: 2, attn_dim_head: 8, ...layers })

function over(layers: Layers = {}, net: Net = {}): AutoregressiveWrapper {
  const base = { num_tokens: VOCABULARY, max_seq_len: WINDOW, attn_layers: decoder(layers) }
  return new AutoregressiveWrapper(new TransformerWrapper({ ...base, ...net }))
}

/** An encoder and a decoder with these layers. */
function both({ cross_attend: _, shift_tokens: shift = 0, ...layers }: Layers): XTransformer {
  const half = (name: string, options: object) =>
    Object.fromEntries(Object.entries(options).map(([key, value]) => [`${name}_${key}`, value]))
  const tokens = {
    num_tokens: VOCABULARY,
    max_seq_len: WINDOW,
    depth: 2,
    heads: 2,
    attn_dim_head: 8,
  }
  // a cross attention in each block: two more sub-layers
  const shift_tokens = typeof shift === 'number' ? shift : [...shift, 1, 0]
  const options = { ...half('enc', tokens), ...half('dec', { ...tokens, ...layers, shift_tokens }) }
  return new XTransformer({ dim: DIM, ...options } as never)
}

function vectors(layers: Layers = {}): ContinuousAutoregressiveWrapper {
  const net = { dim_in: 3, dim_out: 3, max_seq_len: WINDOW, attn_layers: decoder(layers) }
  return new ContinuousAutoregressiveWrapper(new ContinuousTransformerWrapper(net))
}

type Generate = (options: GenerateOptions) => Promise<Tensor>

/**
 * The greedy tokens and the logits of every step. The penalty keeps rows from repeating one token.
 */
async function greedy(
  generate: Generate,
  cache_kv: boolean,
): Promise<{ tokens: number[]; logits: number[] }> {
  const logits: number[] = []
  const filter_logits_fn = (now: Tensor) => {
    logits.push(...numbers(now))
    return now
  }
  const options = { cache_kv, temperature: 0, repetition_penalty: 1.5, filter_logits_fn }
  return { tokens: numbers(await generate(options)), logits }
}

async function expectSame(generate: Generate): Promise<void> {
  const [kept, plain] = [await greedy(generate, true), await greedy(generate, false)]
  expect(kept.tokens).toEqual(plain.tokens)
  expectClose(kept.logits, plain.logits, 1e-4)
}

const cases = <T>(table: Record<string, T[]>) =>
  Object.entries(table).flatMap(([name, all]) =>
    all.map((one, i) => [all.length > 1 ? `${name}, ${i + 1}` : name, one] as const),
  )

beforeEach(() => {
  manualSeed(7)
})

describe('tokens and logits are the same with and without the cache', () => {
  it.each(cases(FEATURES))('with %s', async (_, layers) => {
    const model = over(layers)
    expect(model.cacheable.cached).toBe(!layers.rotary_xpos)
    const start = ids(2, 4)
    const seen = layers.cross_attend
      ? { context: context(), context_mask: bits('11010 01111') }
      : {}
    await expectSame((options) => model.generate(start, NEW, { ...options, ...seen }))
    // prompts of different lengths
    const mask = bits('0011 1111')
    await expectSame((options) => model.generate(start, NEW, { ...options, ...seen, mask }))
  })

  const pairs = Object.entries(FEATURES).filter(([name]) => !WITHOUT_CONTEXT.has(name))

  it.each(cases(Object.fromEntries(pairs)))('with an encoder, with %s', async (_, layers) => {
    const model = both(layers)
    expect(model.cacheable.cached).toBe(!layers.rotary_xpos && !layers.attn_max_attend_past)
    const [source, start, mask] = [ids(2, 5), ids(2, 3), bits('11100 11111')]
    await expectSame((options) => model.generate(source, start, NEW, { ...options, mask }))
  })

  it.each(cases(EMBEDDINGS))('of a model with %s', async (_, net) => {
    for (const layers of [{}, { shift_tokens: 1 }, { rel_pos_bias: true }]) {
      const model = over(layers, net)
      await expectSame((options) => model.generate(ids(2, 4), NEW, options))
      await expectSame((options) =>
        model.generate(ids(2, 4), NEW, { ...options, mask: bits('0111 1111') }),
      )
    }
  })

  it.each(cases(ALONG))('with the call options %s', async (_, { layers, net, tokens, inputs }) => {
    const model = over(layers, net)
    await expectSame((options) =>
      model.generate(ids(2, 4), tokens ?? NEW, { ...options, ...inputs() }),
    )
  })

  it('where the prompt fills or exceeds the window', async () => {
    const model = over()
    for (const length of [1, WINDOW - 1, WINDOW, WINDOW + 3]) {
      await expectSame((options) => model.generate(ids(2, length), NEW, options))
    }
  })

  it('for several rows of a prompt, and for beams, which change places', async () => {
    const model = over({ rel_pos_bias: true, shift_tokens: 1 })
    const mask = bits('0011 1111')
    for (const several of [
      { num_return_sequences: 3, seed: 5 },
      { num_beams: 4, num_return_sequences: 2 },
    ]) {
      const run = async (cache_kv: boolean) =>
        numbers(await model.generate(ids(2, 4), NEW, { ...several, mask, cache_kv }))
      expect(await run(true)).toEqual(await run(false))
    }
  })

  it('when sampling with a seed, and synchronously', async () => {
    const model = over()
    const drawn = { filter_thres: 0, seed: 3 }
    const want = numbers(await model.generate(ids(2, 4), NEW, { ...drawn, cache_kv: false }))
    expect(numbers(await model.generate(ids(2, 4), NEW, drawn))).toEqual(want)
    expect(numbers(model.generateSync(ids(2, 4), NEW, drawn))).toEqual(want)
    expect(numbers(model.generateSync(ids(2, 4), NEW, { ...drawn, cache_kv: false }))).toEqual(want)
  })
})

describe('vectors are the same with and without the cache', () => {
  it.each(cases(FEATURES))('with %s', async (_, layers) => {
    const model = vectors(layers)
    expect(model.cacheable.cached).toBe(!layers.rotary_xpos)
    const seen = layers.cross_attend ? { context: context() } : {}
    const run = async (cache_kv: boolean) =>
      numbers(await model.generate(waves([2, 4, 3]), NEW, { ...seen, cache_kv }))
    expectClose(await run(true), await run(false), 1e-4)
  })

  it('with memories, prepended embeddings and tensors of fixed length', async () => {
    const model = vectors({ rel_pos_bias: true })
    const inputs = [
      [NEW, { mems: [waves([2, 3, DIM], 3), waves([2, 3, DIM], 4)] }],
      [NEW, { prepend_embeds: waves([2, 2, DIM], 5) }],
      [1, { mask: bits('0011 1111') }],
    ] as const
    for (const [count, along] of inputs) {
      const run = async (cache_kv: boolean) =>
        numbers(await model.generate(waves([2, 4, 3]), count, { ...along, cache_kv }))
      expectClose(await run(true), await run(false), 1e-4)
    }
  })
})

describe('cacheable', () => {
  it('says why a model cannot use the cache', () => {
    expect(over().cacheable).toEqual({ cached: true, reason: null })
    expect(both({}).cacheable).toEqual({ cached: true, reason: null })
    expect(vectors().cacheable).toEqual({ cached: true, reason: null })
    expect(over({ rotary_xpos: true }).cacheable).toMatchObject({
      cached: false,
      reason: expect.stringMatching(/`rotary_xpos`/),
    })
    const open = new Encoder({ dim: DIM, depth: 1 })
    const net = new TransformerWrapper({
      num_tokens: VOCABULARY,
      max_seq_len: WINDOW,
      attn_layers: open,
    })
    expect(new AutoregressiveWrapper(net).cacheable).toMatchObject({
      cached: false,
      reason: expect.stringMatching(/Decoder/),
    })
    expect(both({ attn_max_attend_past: 3 }).cacheable.reason).toMatch(/attn_max_attend_past/)
  })

  it('draws no initial values', () => {
    const layers = new Decoder({ dim: 12288, depth: 96, heads: 96, attn_dim_head: 128 })
    const giant = new TransformerWrapper({
      num_tokens: 50257,
      max_seq_len: 2048,
      attn_layers: layers,
    })
    expect(new AutoregressiveWrapper(giant).cacheable.cached).toBe(true)
  })
})
