// The functions of x-transformers 2.31.10's own tests, for the features that this package has: by
// their names, with values compared where Python's look at shapes alone.
import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  arange,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  cat,
  Decoder,
  Encoder,
  layerSchedule,
  NonAutoregressiveWrapper,
  ones,
  randn,
  type Tensor,
  TransformerWrapper,
  tensor,
  XTransformer,
} from 'x-transformers'
import { expectClose, ids, numbers } from './helpers.js'

type LayerOptions = ConstructorParameters<typeof Decoder>[0]
type Options = Partial<LayerOptions>
type Wrapper = Partial<ConstructorParameters<typeof TransformerWrapper>[0]>

const VOCABULARY = 20
const GREEDY = { temperature: 0 }
const layers = (options: Options = {}) => ({
  ...{ dim: 16, depth: 2, heads: 4, attn_dim_head: 4 },
  ...options,
})
const wrap = (attn_layers: Encoder | Decoder, options: Wrapper = {}) =>
  new TransformerWrapper({
    num_tokens: VOCABULARY,
    max_seq_len: 32,
    attn_layers,
    ...options,
  }).eval()
const decoder = (options?: Options, more?: Wrapper) => wrap(new Decoder(layers(options)), more)
const encoder = (options?: Options, more?: Wrapper) => wrap(new Encoder(layers(options)), more)
const tokens = (rows: number, columns: number) => ids(rows, columns, VOCABULARY)
const mask = (rows: boolean[][]) => tensor(rows, { dtype: 'bool' })
/** True for the first positions of each row. */
const lengths = (columns: number, ...rows: number[]) =>
  mask(rows.map((length) => Array.from({ length: columns }, (_, i) => i < length)))
const last = (logits: Tensor) => numbers(logits.select(1, (logits.shape[1] as number) - 1))

/** Expects that every parameter gets a gradient, and none of them is 0 alone. */
async function expectTrains(
  model: { namedParameters(): Map<string, Tensor> },
  loss: Tensor,
  except = /^$/,
): Promise<void> {
  expect(Number.isFinite(Number(loss.item()))).toBe(true)
  await loss.backward()
  for (const [name, { grad }] of model.namedParameters())
    if (!except.test(name)) expect(grad !== null && numbers(grad).some(Boolean), name).toBe(true)
}

describe('wrappers', () => {
  it('test_readme', async () => {
    const model = new XTransformer({
      dim: 16,
      tie_token_emb: true,
      enc_return_only_embed: true,
      ...{ enc_num_tokens: VOCABULARY, enc_depth: 2, enc_heads: 2, enc_max_seq_len: 12 },
      ...{ dec_num_tokens: VOCABULARY, dec_depth: 2, dec_heads: 2, dec_max_seq_len: 12 },
    })
    const [src, tgt] = [tokens(2, 10), tokens(2, 12)]
    const options = { mask: lengths(10, 10, 7) }
    await expectTrains(model, await model.forward(src, tgt.narrow(1, 0, 11), options))
  })

  it('test_autoregressive_wrapper', async () => {
    const model = new AutoregressiveWrapper(decoder())
    await expectTrains(model, await model.forward(tokens(2, 12)))
  })

  it.each([false, true])('test_continuous, cached %s', async (cache_kv) => {
    const attn_layers = new Decoder(layers())
    const net = new ContinuousTransformerWrapper({
      dim_in: 7,
      dim_out: 7,
      max_seq_len: 32,
      attn_layers,
    })
    const model = new ContinuousAutoregressiveWrapper(net)
    const x = randn([2, 9, 7])
    await expectTrains(model, await model.forward(x, { mask: lengths(9, 9, 5) }))
    const start = randn([1, 7])
    const made = await model.generate(start, 17, { cache_kv })
    expect(made.shape).toEqual([17, 7])
    // each vector is what the model says of those before it
    const all = cat([start, made]).unsqueeze(0)
    const said = (await net.eval().forward(all.narrow(1, 0, 17))) as Tensor
    expectClose(numbers(said), numbers(made), 1e-4)
  })

  it('test_simple_mdlm', async () => {
    const net = wrap(new Encoder(layers()), { num_tokens: VOCABULARY + 1 })
    const model = new NonAutoregressiveWrapper(net, { mask_id: VOCABULARY })
    const { loss } = await model.forward(tokens(2, 32))
    await expectTrains(model, loss)
    const made = numbers(await model.generate({ batch_size: 2 }))
    expect(made.every((id) => id >= 0 && id < VOCABULARY)).toBe(true)
  })

  it.each([1, 2])('test_cls_token, %i', async (num_cls_tokens) => {
    const model = encoder({}, { use_cls_token: true, num_cls_tokens })
    const x = tokens(2, 7)
    const options = { mask: lengths(7, 7, 4) }
    const logits = await model.forward(x, options)
    const rest = num_cls_tokens === 1 ? [] : [num_cls_tokens]
    expect(logits.shape).toEqual([2, ...rest, VOCABULARY])
    const short = await model.forward(x.narrow(0, 1, 1).narrow(1, 0, 4))
    expectClose(numbers(short), numbers(logits.narrow(0, 1, 1)))
    const embed = (await model.forward(x, { ...options, return_embeddings: true })) as Tensor
    expect(embed.shape).toEqual([2, ...rest, 16])
  })

  it('test_average_pool_embed', async () => {
    const model = encoder({}, { average_pool_embed: true })
    const x = tokens(2, 7)
    const options = { mask: lengths(7, 7, 4) }
    const pooled = await model.forward(x, options)
    expect(pooled.shape).toEqual([2, VOCABULARY])
    const short = await model.forward(x.narrow(0, 1, 1).narrow(1, 0, 4))
    expectClose(numbers(short), numbers(pooled.narrow(0, 1, 1)))
  })

  it('test_squeeze_logit_dim_one', async () => {
    const options = { logits_dim: 1, average_pool_embed: true }
    const make = (squeeze_out_last_dim: boolean) =>
      encoder({}, { ...options, squeeze_out_last_dim })
    const [model, other] = [make(true), make(false)]
    other.loadStateDict(model.stateDict())
    const x = tokens(3, 7)
    const [logits, whole] = [await model.forward(x), await other.forward(x)]
    expect([logits.shape, whole.shape]).toEqual([[3], [3, 1]])
    expect(numbers(logits)).toEqual(numbers(whole))
  })
})

describe('generation', () => {
  it('test_kv_cache', async () => {
    const model = new AutoregressiveWrapper(decoder({ cross_attend: true }))
    const options = { ...GREEDY, context: randn([2, 5, 16]) }
    const run = (cache_kv: boolean) => model.generate(tokens(2, 4), 12, { ...options, cache_kv })
    const made = await run(true)
    expect(numbers(made)).toEqual(numbers(await run(false)))
    // and they are the most likely ones of a pass over all of them
    const all = cat([tokens(2, 4), made], 1)
    const logits = await model.net.forward(all, { context: options.context })
    expect(numbers(logits.narrow(1, 3, 12).argmax(-1))).toEqual(numbers(made))
  })

  it('test_beam_search', async () => {
    const model = new AutoregressiveWrapper(decoder())
    const options = { num_beams: 4, num_return_sequences: 4 }
    const beams = await model.generate(tokens(2, 4), 6, options)
    expect(beams.shape).toEqual([8, 6])
    const prompts = cat(
      [0, 1].map((row) => tokens(2, 4).narrow(0, row, 1).expand([4, 4])),
      0,
    )
    const { log_probs } = await model.score(cat([prompts, beams], 1))
    const totals = numbers(log_probs.narrow(1, 3, 6).sum(1))
    for (const row of [totals.slice(0, 4), totals.slice(4)])
      for (let i = 1; i < 4; i++) expect(row[i]).toBeLessThanOrEqual((row[i - 1] as number) + 1e-4)
    const greedy = await model.generate(tokens(2, 4), 6, GREEDY)
    const single = await model.generate(tokens(2, 4), 6, { num_beams: 1, ...GREEDY })
    expect(numbers(single)).toEqual(numbers(greedy))
  })

  it('test_prompts_given_as_list_tensor', async () => {
    const model = new AutoregressiveWrapper(decoder())
    const prompts = [3, 5, 2, 7].map((length) => tokens(1, length).select(0, 0))
    const made = await model.generate(prompts, 20, GREEDY)
    expect(made.shape).toEqual([4, 20])
    for (const [i, prompt] of prompts.entries()) {
      const alone = await model.generate(prompt.unsqueeze(0), 20, GREEDY)
      expect(numbers(made.select(0, i))).toEqual(numbers(alone))
    }
  })

  it('test_seq_start_pos_parity', async () => {
    const model = decoder()
    const rows = [tokens(1, 3), tokens(1, 5), tokens(1, 8)]
    const padded = cat(
      rows.map((row) => {
        const padding = 8 - (row.shape[1] as number)
        if (padding === 0) return row
        return cat([ids(1, padding, 1), row], 1)
      }),
    )
    const seq_start_pos = tensor([5, 3, 0], { dtype: 'i64' })
    const logits = await model.forward(padded, { seq_start_pos })
    for (const [i, row] of rows.entries())
      expectClose(last(logits.narrow(0, i, 1)), last(await model.forward(row)))
  })

  it('test_pos_emb_parity, rotary', async () => {
    const model = decoder({ rotary_pos_emb: true, rotary_values: false })
    const writer = new AutoregressiveWrapper(model)
    const x = tokens(1, 9)
    const all = await model.forward(x)
    const made = await writer.generate(x.narrow(1, 0, 5), 4, GREEDY)
    let known = x.narrow(1, 0, 5)
    for (let step = 0; step < 4; step++) {
      const logits = await model.forward(known)
      const next = logits.narrow(1, (known.shape[1] as number) - 1, 1).argmax(-1)
      expect(numbers(next)).toEqual(numbers(made.narrow(-1, step, 1)))
      known = cat([known, next], 1)
    }
    expectClose(numbers(await model.forward(x.narrow(1, 0, 5))), numbers(all.narrow(1, 0, 5)))
  })

  it('test_prepend_embed', async () => {
    const model = new AutoregressiveWrapper(decoder())
    const given = { prepend_embeds: randn([2, 3, 16]), prepend_mask: lengths(3, 3, 2) }
    await expectTrains(model, await model.forward(tokens(2, 9), given), /pos_emb/)
    const run = (cache_kv: boolean) =>
      model.eval().generate(tokens(2, 4), 9, { ...GREEDY, ...given, cache_kv })
    expect(numbers(await run(true))).toEqual(numbers(await run(false)))
  })

  it.each<[string, Options]>([
    ['rotary', { rotary_pos_emb: true }],
    ['absolute', {}],
    ['alibi', { alibi_pos_bias: true }],
  ])('test_caching_when_inputs_not_include_past, %s', async (_, options) => {
    const model = new AutoregressiveWrapper(decoder(options))
    const streamed: number[] = []
    for await (const token of model.stream<number>(tokens(1, 4), 10, GREEDY)) streamed.push(token)
    const whole = await model.generate(tokens(1, 4), 10, { ...GREEDY, cache_kv: false })
    expect(streamed).toEqual(numbers(whole))
  })
})

describe('positions', () => {
  it('test_custom_rotary_pos_emb', async () => {
    const model = decoder({ rotary_pos_emb: true, rotary_given_pos: true })
    const x = tokens(2, 8)
    const plain = numbers(await model.forward(x))
    const at = async (pos: Tensor) => numbers(await model.forward(x, { pos }))
    expectClose(await at(arange(8)), plain)
    expectClose(await at(cat([arange(8), arange(8)]).reshape([2, 8])), plain)
    expect(await at(arange(8).mul(2))).not.toEqual(plain)
  })

  it.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])('test_cross_attn_rotary, causal %s, with positions %s', async (causal, positions) => {
    const rotary = { rotary_pos_emb: true, rotary_given_pos: true, rotary_values: false }
    const options = { ...layers(rotary), cross_attend: true }
    const model = (causal ? new Decoder(options) : new Encoder(options)).eval()
    const [x, context] = [randn([2, 6, 16]), randn([2, 9, 16])]
    const given = { context, mask: lengths(6, 6, 4), context_mask: lengths(9, 9, 5) }
    const run = async (more: object) =>
      numbers((await model.forward(x, { ...given, ...more })) as Tensor)
    const plain = await run({})
    if (!positions) return expect(await run({ pos: arange(6) })).toEqual(plain)
    const turned = await run({ pos: arange(6), context_pos: arange(9) })
    expect(turned).not.toEqual(plain)
    // the distance counts alone
    expectClose(await run({ pos: arange(6).add(3), context_pos: arange(9).add(3) }), turned)
    expect(await run({ pos: arange(6), context_pos: arange(9).add(3) })).not.toEqual(turned)
  })
})

describe('attention', () => {
  it('test_attn_softclamp_logits', async () => {
    const make = (value: number | null) =>
      decoder(
        value === null ? {} : { attn_softclamp_logits: true, attn_logit_softclamp_value: value },
      )
    const plain = make(null)
    const logits = async (model: TransformerWrapper) => {
      model.loadStateDict(plain.stateDict())
      return numbers(await model.forward(tokens(2, 8)))
    }
    const want = await logits(plain)
    expectClose(await logits(make(1e4)), want, 1e-4)
    expect(await logits(make(0.05))).not.toEqual(want)
  })

  it('test_learned_head_attn_sink', async () => {
    const [model, plain] = [decoder({ attn_head_learned_sink: true }), decoder()]
    const sinks = [...model.namedParameters()].filter(([name]) => name.endsWith('head_attn_sink'))
    expect(sinks.map(([, { shape }]) => shape)).toEqual([[4], [4]])
    const state = new Map(model.stateDict())
    for (const [name] of sinks) state.set(name, ones([4]).mul(-1e4))
    model.loadStateDict(state)
    plain.loadStateDict(state, { strict: false })
    const x = tokens(2, 8)
    expectClose(numbers(await model.forward(x)), numbers(await plain.forward(x)))
    for (const [name] of sinks) state.set(name, ones([4]))
    model.loadStateDict(state)
    expect(numbers(await model.forward(x))).not.toEqual(numbers(await plain.forward(x)))
    const writer = new AutoregressiveWrapper(model)
    await expectTrains(writer, await writer.forward(x))
  })

  it('test_causal_override', async () => {
    const [causal, open] = [decoder(), encoder()]
    open.loadStateDict(causal.stateDict())
    const x = tokens(2, 6)
    const [want, got] = [numbers(await causal.forward(x)), numbers(await open.forward(x))]
    expect(got).not.toEqual(want)
    expectClose(numbers(await open.forward(x, { causal: true })), want)
    expectClose(numbers(await causal.forward(x, { causal: false })), got)
    const before = Array.from({ length: 6 }, (_, i) => Array.from({ length: 6 }, (_, j) => j <= i))
    expectClose(numbers(await open.forward(x, { attn_mask: mask(before) })), want)
  })

  it('test_custom_alibi', async () => {
    const alibi = { alibi_pos_bias: true, alibi_given_pos: true }
    const model = decoder(alibi, { use_abs_pos_emb: false })
    const x = tokens(2, 4)
    const pos = (rows: number[][]) => tensor(rows, { dtype: 'i64' })
    const places = [
      [0, 1, 2, 4],
      [1, 3, 5, 7],
    ]
    const logits = await model.forward(x, { pos: pos(places) })
    const rows = places.map((row, i) =>
      model.forward(x.slice(0, i, i + 1), { pos: pos([row.map((place) => place + 5)]) }),
    )
    expectClose(numbers(logits), numbers(cat(await Promise.all(rows), 0)))
    expect(numbers(logits)).not.toEqual(numbers(await model.forward(x)))
    const writer = new AutoregressiveWrapper(model)
    const inputs = places.map((row) => row.slice(0, 3))
    await expectTrains(writer, await writer.forward(x, { pos: pos(inputs) }))
  })

  it('test_custom_alibi_across_heads', async () => {
    const alibi = { heads: 2, alibi_pos_bias: true, alibi_given_pos: true }
    const model = new Decoder(layers({ ...alibi, alibi_slopes: [1, 1] }))
    const plain = new Decoder(layers({ heads: 2, alibi_pos_bias: true, alibi_slopes: [1, 2] }))
    plain.loadStateDict(model.stateDict())
    const x = randn([2, 4, 16])
    // the second head sees twice the distances
    const rows = [
      [0, 1, 2, 3],
      [1, 3, 5, 7],
    ]
    const pos = tensor([rows, rows], { dtype: 'i64' })
    const embeds = await model.forward(x, { pos })
    expectClose(numbers(embeds), numbers(await plain.forward(x)))
    await expectTrains(model, await embeds.square().sum())
  })

  it('test_flash_pack_seq', async () => {
    const model = decoder({ rotary_pos_emb: true })
    const rows = [tokens(1, 4), tokens(1, 7), tokens(1, 2)]
    const names = rows.flatMap((row, i) =>
      Array.from({ length: row.shape[1] as number }, () => i + 1),
    )
    const segment_ids = tensor([names], { dtype: 'i64' })
    const packed = await model.forward(cat(rows, 1), { segment_ids })
    const alone = await Promise.all(rows.map((row) => model.forward(row)))
    expectClose(numbers(packed), numbers(cat(alone, 1)))
  })

  it.each([true, false])('test_value_residual, learned %s', async (learned) => {
    const options = { add_value_residual: true, learned_value_residual_mix: learned, depth: 3 }
    const model = new AutoregressiveWrapper(decoder(options))
    await expectTrains(model, await model.forward(tokens(2, 8)))
    const mixes = [...model.namedParameters().keys()].filter((name) => name.includes('_mix.'))
    expect(mixes.length).toBe(learned ? 4 : 0)
    const run = (cache_kv: boolean) =>
      model.eval().generate(tokens(2, 3), 8, { ...GREEDY, cache_kv })
    expect(numbers(await run(true))).toEqual(numbers(await run(false)))
  })
})

describe('feed-forwards and layers', () => {
  it('test_custom_ff_activation', async () => {
    const model = new AutoregressiveWrapper(decoder({ ff_activation: 'sigmoid' }))
    const plain = decoder()
    plain.loadStateDict(model.net.stateDict())
    const x = tokens(2, 8)
    expect(numbers(await model.net.forward(x))).not.toEqual(numbers(await plain.forward(x)))
    await expectTrains(model, await model.forward(x))
  })

  it('test_layer_schedule', async () => {
    const ff_mult = layerSchedule(1, 3, 3)
    const options = { depth: 3, ff_mult, attn_max_attend_past: [1, null, 2] }
    const model = decoder(options)
    const widths = [1, 3, 5].map((i) => {
      const name = `attn_layers.layers.${i}.1.ff.0.0.weight`
      return model.stateDict().get(name)?.shape[0]
    })
    expect(widths).toEqual([16, 32, 48])
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
    const writer = new AutoregressiveWrapper(model)
    const losses: number[] = []
    for (let step = 0; step < 5; step++) {
      const loss = await writer.forward(tokens(2, 8))
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
      losses.push(Number(loss.item()))
    }
    expect(losses.at(-1)).toBeLessThan(losses[0] as number)
  })
})
