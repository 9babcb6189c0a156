import { describe, expect, it } from 'vitest'
import {
  AdamW,
  clipGradNorm,
  clipGradNormSync,
  Decoder,
  full,
  load,
  loadTensors,
  noGrad,
  ones,
  type Tensor,
  tidy,
  zeros,
} from 'x-transformers'
import { ids, smallModel } from './helpers.js'
import { xTransformer } from './zoo.js'

/** Values that callbacks may throw. */
const THROWN: [string, unknown][] = [
  ['an error', new Error('mine')],
  ['a text', 'mine'],
  ['undefined', undefined],
  ['null', null],
  ['an object', { mine: true }],
]

/** What a call throws or rejects with. */
async function thrownBy(call: () => unknown): Promise<{ thrown: unknown } | null> {
  try {
    await call()
    return null
  } catch (thrown) {
    return { thrown }
  }
}

const model = smallModel()
const optimizer = () => new AdamW(model.parameters())

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream) break
}

const stream = (bytes: Uint8Array) => new Blob([bytes as Uint8Array<ArrayBuffer>]).stream()

/** Every way to pass a callback to the library: calls that run `code`. */
const CALLS: Record<string, (code: () => never) => unknown> = {
  'a filter of generate': (code) => model.generate(ids(1, 3), 2, { filter_logits_fn: code }),
  'a filter of generateSync': (code) =>
    model.generateSync(ids(1, 3), 2, { filter_logits_fn: code }),
  'a filter of stream': (code) => drain(model.stream(ids(1, 3), 2, { filter_logits_fn: code })),
  'a filter of an encoder and decoder': (code) =>
    xTransformer().generate(ids(1, 3), ids(1, 3), 2, { filter_logits_fn: code }),
  'progress of load': async (code) => load(await model.saveBytes(), { on_progress: code }),
  'progress of load, of a Blob': async (code) =>
    load(await model.saveBlob(), { on_progress: code }),
  'progress of load, of a stream': async (code) =>
    load(stream(await model.saveBytes()), { on_progress: code }),
  'progress of load, asynchronous': async (code) =>
    load(await model.saveBytes(), { on_progress: async () => code() }),
  'progress of loadTensors': async (code) =>
    loadTensors(await model.saveBytes(), { on_progress: code }),
  'progress of several files': async (code) =>
    loadTensors([await model.saveBytes()], { on_progress: code }),
  'progress of several files, asynchronous': async (code) =>
    loadTensors([await model.saveBytes()], { on_progress: async () => code() }),
  'progress of loadWeights': async (code) =>
    model.loadWeights(await model.saveBytes(), { on_progress: code }),
  'progress of an optimizer': async (code) =>
    optimizer().load(await optimizer().saveBytes(), { on_progress: code }),
  'an iterator of parameters': (code) => new AdamW({ [Symbol.iterator]: code }),
  'an iterator of clipGradNorm': (code) => clipGradNorm({ [Symbol.iterator]: code }, 1),
  'an iterator of clipGradNormSync': (code) => clipGradNormSync({ [Symbol.iterator]: code }, 1),
  'a getter of a group': (code) =>
    // biome-ignore format: one call
    new AdamW([{ params: model.parameters(), get lr() { return code() } }]),
  // biome-ignore format: one call
  'a getter of settings': (code) => new AdamW(model.parameters(), { get lr() { return code() } }),
  // biome-ignore format: one call
  'a getter of a constructor': (code) => new Decoder({ dim: 16, get depth() { return code() } }),
  'a getter within options': (code) =>
    // biome-ignore format: one call
    new Decoder({ dim: 16, depth: 1, custom_layers: [{ get kind() { return code() } }] } as never),
  // biome-ignore format: one call
  'a getter of a call': (code) => model.forward(ids(1, 8), { get mask() { return code() } }),
  // biome-ignore format: one call
  'a getter of a signal': (code) => model.forward(ids(1, 8), { get signal() { return code() } }),
  // biome-ignore format: one call
  'a getter of a tensor': (code) => ones([2], { get dtype() { return code() } }),
  'a proxy': (code) => new Decoder(new Proxy({}, { ownKeys: code }) as never),
  tidy: (code) => tidy(code),
  noGrad: (code) => noGrad(code),
}

describe('an exception of a callback reaches the caller unchanged:', () => {
  describe.each(Object.entries(CALLS))('%s', (_, call) => {
    it.each(THROWN)('%s', async (_, value) => {
      const code = () => {
        throw value
      }
      expect(await thrownBy(() => call(code))).toEqual({ thrown: value })
      const { thrown } = (await thrownBy(() => call(code))) as { thrown: unknown }
      expect(thrown).toBe(value)
    })
  })

  it('and the model stays usable', async () => {
    const before = await model.generate(ids(1, 3), 2, {
      filter_logits_fn: (x) => x,
      temperature: 1e-6,
    })
    const filter = () => {
      throw new Error('mine')
    }
    await thrownBy(() => model.generate(ids(1, 3), 2, { filter_logits_fn: filter }))
    const after = await model.generate(ids(1, 3), 2, {
      filter_logits_fn: (x) => x,
      temperature: 1e-6,
    })
    expect(after.toArray()).toEqual(before.toArray())
  })
})

describe('a logits filter of the caller', () => {
  const mask = full([1, 11], -1e9).mul(ones([1, 11]))

  it('may return the same tensor each time, which is not disposed', async () => {
    const fixed = mask.add(1)
    const tokens = await model.generate(ids(1, 3), 3, { filter_logits_fn: () => fixed })
    expect(tokens.shape).toEqual([1, 3])
    expect(fixed.shape).toEqual([1, 11])
  })

  it('may return its argument', () => {
    expect(
      model.generateSync(ids(1, 3), 3, { filter_logits_fn: (logits) => logits }).shape,
    ).toEqual([1, 3])
  })

  it('is rejected if it is asynchronous, and does not end the process', async () => {
    const filter = (async () => {
      throw new Error('nobody waits for this')
    }) as unknown as (x: Tensor) => Tensor
    const refused = {
      code: 'invalid_argument',
      message: expect.stringMatching(/filter_logits_fn.*a Promise/),
    }
    await expect(model.generate(ids(1, 3), 2, { filter_logits_fn: filter })).rejects.toMatchObject(
      refused,
    )
  })

  it('is an error if it returns something else', async () => {
    const generate = (filter: unknown) =>
      model.generate(ids(1, 3), 2, { filter_logits_fn: filter as never })
    await expect(generate(() => [1])).rejects.toMatchObject({ code: 'invalid_argument' })
    await expect(generate(() => zeros([2]))).rejects.toMatchObject({ code: 'invalid_tensor' })
  })
})

describe('settings of an optimizer', () => {
  it('are checked by the next step and by stateDict', async () => {
    const one = optimizer()
    Object.assign(one.param_groups[0] as object, { note: () => {} })
    await expect(one.step()).rejects.toMatchObject({ code: 'invalid_options' })
    expect(() => one.stateDict()).toThrowError(expect.objectContaining({ code: 'invalid_options' }))
  })

  it('must not have more groups than there were', async () => {
    const one = optimizer()
    one.param_groups.push(one.param_groups[0] as never)
    await expect(one.step()).rejects.toMatchObject({
      code: 'invalid_state',
      message: /1 groups.*has 2/,
    })
  })
})
