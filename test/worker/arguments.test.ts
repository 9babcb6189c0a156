import { describe, expect, it } from 'vitest'
import { tensor } from 'x-transformers/worker'
import { all, LAYERS, library, numbers, smallModel, VOCABULARY } from './helpers.js'

const GREEDY = { temperature: 0 }
const i64 = (data: Parameters<typeof tensor>[0]) => tensor(data, { dtype: 'i64' })

describe('arrays as tensors, in a worker', () => {
  it('are accepted by forward, generate, score and stream', async () => {
    const x = await library()
    const model = smallModel(x).eval()
    const [row, tensors] = [[1, 2, 3], i64([1, 2, 3])]
    expect(numbers(await model.net.forward([row]))).toEqual(
      numbers(await model.net.forward(i64([row]))),
    )
    const mask = [[true, true, false]]
    expect(numbers(await model.net.forward([row], { mask }))).toEqual(
      numbers(await model.net.forward(i64([row]), { mask: tensor(mask) })),
    )
    const want = numbers(await model.generate(tensors, 3, GREEDY))
    expect(numbers(await model.generate(row, 3, GREEDY))).toEqual(want)
    expect(numbers(await model.generate(Int32Array.from(row), 3, GREEDY))).toEqual(want)
    expect(await all(model.stream(row, 3, GREEDY))).toEqual(want)
    expect((await model.score([row])).perplexity.shape).toEqual([1])
    await expect(model.forward([[1, 2.5, 3]])).rejects.toThrow(
      /x: an i64 tensor holds whole numbers/,
    )
  })

  it('are accepted by an encoder with a decoder, and by a train step', async () => {
    const x = await library()
    const model = new x.XTransformer({
      dim: 16,
      enc_num_tokens: VOCABULARY,
      enc_depth: 1,
      enc_heads: 2,
      enc_max_seq_len: 8,
      dec_num_tokens: VOCABULARY,
      dec_depth: 1,
      dec_heads: 2,
      dec_max_seq_len: 8,
    })
    expect(
      (await model.generate([[1, 2]], [[3]], 2, { ...GREEDY, mask: [[true, true]] })).shape,
    ).toEqual([1, 2])
    const net = new x.TransformerWrapper({
      num_tokens: 11,
      max_seq_len: 8,
      attn_layers: new x.Encoder(LAYERS),
    })
    const optimizer = new x.SGD(net, { lr: 0.1 })
    const batch = { model: net, optimizer, batches: [[[[1, 2, 3]]]] as [number[][]][] }
    const { loss } = await x.trainStep({ ...batch, objective: { cross_entropy: [[[2, 3, 4]]] } })
    expect(loss).toBeGreaterThan(0)
  })
})

/** The bytes in use after all earlier messages. */
const bytes = async (x: Awaited<ReturnType<typeof library>>) => (await x.memory()).native_bytes

describe('dispose in a worker', () => {
  it('of a wrapper frees the models inside immediately', async () => {
    const x = await library()
    const made = async () => {
      const attn_layers = new x.Decoder({ dim: 128, depth: 2 })
      const model = new x.AutoregressiveWrapper(
        new x.TransformerWrapper({ num_tokens: 256, max_seq_len: 16, attn_layers }),
      )
      await model.saveBytes()
      return model
    }
    for (let i = 0; i < 3; i++) (await made()).dispose()
    const before = await bytes(x)
    const model = await made()
    expect((await bytes(x)) - before).toBeGreaterThan(1_000_000)
    model.dispose()
    expect((await bytes(x)) - before).toBeLessThan(64 * 1024)
    await expect(model.net.forward([[1]])).rejects.toMatchObject({ code: 'disposed' })
    await expect(model.net.attn_layers.describe()).rejects.toMatchObject({ code: 'disposed' })
  })

  it('keeps weights that another wrapper uses', async () => {
    const x = await library()
    const a = smallModel(x)
    const b = new x.AutoregressiveWrapper(a.net)
    const want = (await b.forward([[1, 2, 3]])).item()
    a.dispose()
    expect((await b.forward([[1, 2, 3]])).item()).toBe(want)
  })

  it.skipIf(!globalThis.gc)(
    'does not happen to a net whose wrapper is garbage collected',
    async () => {
      const x = await library()
      const net = await (async () => {
        const model = smallModel(x)
        await model.forward([[1, 2, 3]])
        return model.net
      })()
      for (let i = 0; i < 5; i++) {
        globalThis.gc?.()
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      expect((await net.forward([[1, 2, 3]])).shape).toEqual([1, 3, VOCABULARY])
    },
  )
})
