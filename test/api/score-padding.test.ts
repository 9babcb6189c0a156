import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  Decoder,
  Encoder,
  manualSeed,
  ones,
  type ScoreOptions,
  type Tensor,
  TransformerWrapper,
  tensor,
} from 'x-transformers'
import { DIM, EMBEDDINGS, FEATURES, type Layers, type Net, waves } from './features.js'
import { expectClose, numbers, VOCABULARY } from './helpers.js'

const ROWS = [
  [3, 1, 4, 8, 5],
  [2, 7],
  [6, 7, 8, 2, 5, 4],
  [1, 8, 2],
]
const COLUMNS = 7

function model(
  layers: Layers = {},
  net: Net = {},
  Stack: typeof Decoder | typeof Encoder = Decoder,
) {
  const attn_layers = new Stack({
    dim: DIM,
    depth: 2,
    heads: 2,
    attn_dim_head: 8,
    ...layers,
  } as Layers & {
    dim: number
    depth: number
  })
  const base = { num_tokens: VOCABULARY, max_seq_len: 16, attn_layers }
  return new AutoregressiveWrapper(new TransformerWrapper({ ...base, ...net } as typeof base))
}

type Along = Omit<ScoreOptions, 'mask' | 'ignore_pad'>

/** Arguments that belong to one row: the rows of all tensors that have one for each. */
const ofRow = (along: Along, row: number): Along => {
  const own = (x: Tensor) => x.slice(0, row, row + 1)
  return Object.fromEntries(
    Object.entries(along).map(([name, x]) => [
      name,
      Array.isArray(x) ? x.map(own) : own(x as Tensor),
    ]),
  )
}

/** Scores of padded rows equal those of the rows alone. */
async function expectSameAsAlone(net: AutoregressiveWrapper, along: Along = {}): Promise<void> {
  for (const left of [true, false]) {
    const from = (row: number[]) => (left ? COLUMNS - row.length : 0)
    const padded = <T>(row: readonly T[], filler: T, at: number) => {
      const all = Array.from({ length: COLUMNS }, () => filler)
      all.splice(at, row.length, ...row)
      return all
    }
    const x = tensor(
      ROWS.map((row) => padded(row, 0, from(row))),
      { dtype: 'i64' },
    )
    const mask = tensor(
      ROWS.map((row) => [
        ...padded(
          row.map(() => true),
          false,
          from(row),
        ),
      ]),
    )
    const { log_probs, perplexity } = await net.score(x, { ...along, mask })
    for (const [i, row] of ROWS.entries()) {
      const alone = await net.score(tensor([row], { dtype: 'i64' }), ofRow(along, i))
      const want = padded(numbers(alone.log_probs), 0, from(row)).slice(0, COLUMNS - 1)
      expectClose(numbers(log_probs.slice(0, i, i + 1)), want)
      expectClose(numbers(perplexity.slice(0, i, i + 1)), numbers(alone.perplexity))
    }
  }
}

const context = (): Along => ({
  context: waves([ROWS.length, 5, DIM], 2),
  context_mask: ones([ROWS.length, 5], { dtype: 'bool' }),
})

/**
 * Options that are incompatible with xpos, which needs self attentions, values as wide as the
 * rotated features, and angles and positions of its own.
 */
const NOT_XPOS = new Set([
  'only_cross',
  'attn_value_dim_head',
  'rotary_scaling',
  'rotary_given_pos',
])

describe('padding changes no score', () => {
  it.each(
    Object.entries(FEATURES).flatMap(([name, all]) => all.map((layers) => [name, layers] as const)),
  )('with %s: %o', async (name, layers) => {
    manualSeed(1)
    await expectSameAsAlone(model(layers), layers.cross_attend ? context() : {})
    if (!NOT_XPOS.has(name))
      await expectSameAsAlone(
        model({ ...layers, rotary_xpos: true }),
        layers.cross_attend ? context() : {},
      )
  })

  it.each(
    Object.entries(EMBEDDINGS).flatMap(([name, all]) => all.map((net) => [name, net] as const)),
  )('with %s: %o', async (_, net) => {
    manualSeed(1)
    for (const layers of [{}, { rotary_xpos: true }, { alibi_pos_bias: true }])
      await expectSameAsAlone(model(layers, net))
  })

  it.each([{}, { rotary_pos_emb: true }, { shift_tokens: 1 }, { attn_num_mem_kv: 2 }])(
    'of an encoder: %o',
    async (layers) => {
      manualSeed(1)
      await expectSameAsAlone(model(layers, {}, Encoder))
    },
  )

  it.each([
    {},
    { rotary_xpos: true },
    { rel_pos_bias: true },
    { shift_tokens: 1 },
    { attn_max_attend_past: 2 },
  ])('with memories and memory tokens: %o', async (layers) => {
    manualSeed(1)
    const mems = [waves([ROWS.length, 3, DIM], 3), waves([ROWS.length, 3, DIM], 4)]
    await expectSameAsAlone(model(layers, { max_mem_len: 4 }), { mems })
    await expectSameAsAlone(model(layers, { num_memory_tokens: 2, max_mem_len: 4 }), { mems })
  })

  it('without a mask, after the tokens that count', async () => {
    manualSeed(1)
    const net = model({ rotary_xpos: true })
    const alone = await net.score(tensor([3, 1, 4], { dtype: 'i64' }))
    const ignored = await net.score(tensor([3, 1, 4, -100, -100], { dtype: 'i64' }))
    expectClose(numbers(ignored.log_probs), [...numbers(alone.log_probs), 0, 0])
    const padded = await net.score(tensor([3, 1, 4, 0, 0], { dtype: 'i64' }), { ignore_pad: true })
    expectClose(numbers(padded.log_probs), [...numbers(alone.log_probs), 0, 0])
  })

  it('and rows without any token that counts have a score of 0', async () => {
    const net = model({ rotary_xpos: true })
    const x = tensor([ROWS[2] as number[], [1, 2, 3, 4, 5, 6]], { dtype: 'i64' })
    const mask = tensor([
      [true, true, true, true, false, false],
      [false, false, true, false, false, false],
    ])
    const { log_probs, perplexity } = await net.score(x, { mask })
    expect(
      numbers(log_probs)
        .slice(3)
        .every((p) => p === 0),
    ).toBe(true)
    expect(numbers(perplexity).map(Number.isNaN)).toEqual([false, true])
    const none = await net.score(x, { mask: mask.logicalNot().maximum(mask).logicalNot() })
    expect(numbers(none.log_probs).every((p) => p === 0)).toBe(true)
    expect(numbers(none.perplexity).every(Number.isNaN)).toBe(true)
  })

  it('and inputs per column are cut to the length of the row', async () => {
    manualSeed(1)
    const net = model({ rotary_xpos: true })
    const row = [3, 1, 4, 1]
    const x = tensor(
      [
        [...row, 0, 0],
        [2, 7, 1, 8, 2, 8],
      ],
      { dtype: 'i64' },
    )
    const mask = tensor([
      [true, true, true, true, false, false],
      [true, true, true, true, true, true],
    ])
    const lower = (n: number) =>
      tensor(
        Array.from({ length: n }, (_, i) =>
          Array.from({ length: n }, (_, j) => j <= i && (j !== 1 || i === 1)),
        ),
      )
    const sum_embeds = waves([2, 5, DIM], 6)
    const both = await net.score(x, { mask, attn_mask: lower(5), sum_embeds })
    const own = { attn_mask: lower(3), sum_embeds: sum_embeds.slice(0, 0, 1).slice(1, 0, 3) }
    const alone = await net.score(tensor([row], { dtype: 'i64' }), own)
    expectClose(numbers(both.log_probs).slice(0, 5), [...numbers(alone.log_probs), 0, 0])
    const pos = waves([5, DIM], 7)
    const placed = await net.score(x, { mask, pos })
    const one = await net.score(tensor([row], { dtype: 'i64' }), { pos: pos.slice(0, 0, 3) })
    expectClose(numbers(placed.log_probs).slice(0, 5), [...numbers(one.log_probs), 0, 0])
  })
})
