// What exceeds the memory of any machine is an error before anything is computed. The message says
// how much is needed and how much is available.
import { afterEach, describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  arange,
  Decoder,
  full,
  memory,
  ones,
  rand,
  randint,
  randn,
  SGD,
  TransformerWrapper,
  tidy,
  XTransformersError,
  zeros,
} from 'x-transformers'
import { ids, smallModel } from './helpers.js'

const TIB = 2 ** 40
const MEGABYTE = 2 ** 20
const UNITS = { MiB: 2 ** 20, GiB: 2 ** 30 }

/** Runs a call that must fail; returns the bytes that it would need. */
async function needed(run: () => unknown): Promise<number> {
  const before = memory().native_bytes
  const error = await Promise.resolve()
    .then(run)
    .then(
      () => expect.fail('it was not refused'),
      (error: unknown) => error,
    )
  expect(error).toBeInstanceOf(XTransformersError)
  const { code, message } = error as XTransformersError
  expect(code, message).toBe('out_of_memory')
  const [, size, unit, left] =
    /needs (\d+(?:\.\d+)?) (MiB|GiB), and (\d+.*) available/.exec(message) ?? []
  expect(Number.parseFloat(left ?? ''), message).toBeGreaterThan(0)
  expect(memory().native_bytes - before).toBeLessThan(MEGABYTE)
  return Number(size) * UNITS[unit as keyof typeof UNITS]
}

/** A model with more weights than any machine has bytes. */
const giant = () =>
  new AutoregressiveWrapper(
    new TransformerWrapper({
      num_tokens: 2 ** 40,
      max_seq_len: 64,
      attn_layers: new Decoder({ dim: 64, depth: 1, heads: 2 }),
    }),
  )
const prompt = () => ones([1, 4], { dtype: 'i64' })

afterEach(async () => {
  const loss = await smallModel().forward(ids(2, 9))
  await loss.backward()
  expect(loss.item()).toBeGreaterThan(0)
})

describe('a tensor that is too large', () => {
  const shape = [2 ** 18, 2 ** 20]

  it.each<[string, () => unknown]>([
    ['zeros', () => zeros(shape)],
    ['ones', () => ones(shape)],
    ['full', () => full(shape, 2)],
    ['rand', () => rand(shape)],
    ['randn', () => randn(shape)],
    ['randint', () => randint(0, 9, shape)],
    ['arange', () => arange(0, 2 ** 38)],
  ])('is rejected by %s', async (_, make) => {
    expect(await needed(make)).toBeGreaterThanOrEqual(TIB)
  })

  it.each(['f64', 'f16', 'bf16', 'i64', 'u8', 'bool'] as const)(
    'is rejected in %s',
    async (dtype) => {
      const size = { f64: 8, f16: 2, bf16: 2, i64: 8, u8: 1, bool: 1 }[dtype]
      expect(await needed(() => zeros([2 ** 20, 2 ** 20], { dtype }))).toBe(size * TIB)
    },
  )

  it.each<[string, () => unknown]>([
    ['add', () => ones([MEGABYTE, 1]).add(ones([MEGABYTE]))],
    ['maximum', () => ones([MEGABYTE, 1]).maximum(ones([MEGABYTE]))],
    ['gt', () => ones([MEGABYTE, 1]).gt(ones([MEGABYTE]))],
    ['where', () => ones([MEGABYTE, 1], { dtype: 'bool' }).where(ones([1]), ones([MEGABYTE]))],
    ['matmul', () => ones([MEGABYTE, 1]).matmul(ones([1, MEGABYTE]))],
    [
      'add of halves',
      () => ones([MEGABYTE, 1], { dtype: 'f16' }).add(ones([MEGABYTE], { dtype: 'f16' })),
    ],
    [
      'add of whole numbers',
      () => ones([MEGABYTE, 1], { dtype: 'i64' }).add(ones([MEGABYTE], { dtype: 'i64' })),
    ],
  ])('is rejected as the result of %s', async (_, run) => {
    expect(await needed(() => tidy(run))).toBeGreaterThanOrEqual(TIB)
  })
})

describe('a model that is too large', () => {
  const weights = 2 * 2 ** 32 * 64 * 4

  it('is an error at its first use and not at construction', async () => {
    const model = giant()
    expect(model.parameters().length).toBeGreaterThan(5)
    for (const run of [
      () => model.forward(prompt()),
      () => model.forwardSync(prompt()),
      () => model.generate(prompt(), 3),
      () => model.generateSync(prompt(), 3),
      () => model.score(prompt()),
      () => model.saveBytes(),
      () => model.saveBytesSync(),
      () => model.quantize('q8_0'),
    ])
      expect(await needed(run)).toBeGreaterThan(weights * 0.99)
  })

  it('is an error for single parameters', async () => {
    const large = giant()
      .parameters()
      .filter(({ shape }) => shape[0] >= 2 ** 32 - 1)
    // the embedding, the head and its bias
    expect(large.length).toBe(3)
    for (const parameter of large) {
      await needed(() => parameter.data())
      await needed(() => parameter.mul(2))
    }
  })

  it('is an error for optimizers, with the size of their state', async () => {
    const of = (make: () => unknown) => needed(make)
    const parameters = giant().parameters()
    // the weights, the gradient, the new weights, and the averages
    const plain = await of(() => new SGD(parameters, { lr: 0.1 }))
    const one = plain / 3
    for (const more of [{}, { dampening: 0.1 }, { nesterov: true }])
      expect(
        (await of(() => new SGD(parameters, { lr: 0.1, momentum: 0.9, ...more }))) / one,
      ).toBeCloseTo(4, 3)
    expect((await of(() => new AdamW(parameters))) / one).toBeCloseTo(5, 3)
    const half = parameters.length / 2
    const groups = [
      { params: parameters.slice(0, half) },
      { params: parameters.slice(half), momentum: 0.9 },
    ]
    const mixed = await of(() => new SGD(groups, { lr: 0.1 }))
    expect(mixed / one).toBeGreaterThan(3.1)
    expect(mixed / one).toBeLessThan(3.9)
  })
})
