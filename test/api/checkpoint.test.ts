// Checkpoints as bytes; files are in test/node/checkpoint.test.ts and test/browser/opfs.test.ts.
import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  Decoder,
  load,
  loadSync,
  loadTensors,
  loadTensorsSync,
  ones,
  saveTensors,
  TransformerWrapper,
  tensor,
} from 'x-transformers'
import { FakeFile, header } from './bytes.js'
import { ids, numbers, smallModel } from './helpers.js'

describe('a checkpoint', () => {
  it('rebuilds the whole model', async () => {
    const model = smallModel({ rotary_pos_emb: true, attn_dim_head: 64, ff_mult: 2 })
    const loaded = await load<AutoregressiveWrapper>(await model.saveBytes())
    expect(loaded).toBeInstanceOf(AutoregressiveWrapper)
    expect(loaded.options).toEqual(model.options)
    expect([...loaded.stateDict().keys()]).toEqual([...model.stateDict().keys()])
    expect((await loaded.forward(ids(2, 9))).item()).toBe((await model.forward(ids(2, 9))).item())
    expect(loaded.training).toBe(true)
  })

  it('gives the models inside, which share the weights', async () => {
    const original = smallModel()
    expect(original.net.attn_layers).toBeInstanceOf(Decoder)
    const loaded = await load<AutoregressiveWrapper>(await original.saveBytes())
    expect(loaded.net).toBeInstanceOf(TransformerWrapper)
    expect(loaded.net.attn_layers).toBeInstanceOf(Decoder)
    expect(loaded.net).toBe(loaded.net)
    expect(loaded.net.options).toEqual(original.net.options)
    const [inner, outer] = [loaded.net.attn_layers.namedParameters(), loaded.namedParameters()]
    for (const [name, parameter] of inner)
      expect(outer.get(`net.attn_layers.${name}`)).toBe(parameter)

    const logits = await original.net.forward(ids(1, 4))
    expect(numbers(await loaded.net.forward(ids(1, 4)))).toEqual(numbers(logits))
    const { net } = loaded
    loaded.dispose()
    await expect(net.forward(ids(1, 4))).rejects.toThrow(/disposed/)
  })

  it('is the same from every way to save and load', async () => {
    const model = smallModel()
    const bytes = await model.saveBytes()
    expect(header(model.saveBytesSync())).toEqual(header(bytes))
    const file = new FakeFile()
    await model.save(file)
    expect(header(file.content)).toEqual(header(bytes))
    const copy = new Uint8Array(bytes).buffer
    const models = [
      loadSync(file.content),
      loadSync(bytes),
      loadSync(copy),
      await load(copy),
      await load(bytes),
    ]
    for (const loaded of models)
      expect(loaded.parameters().map(numbers)).toEqual(model.parameters().map(numbers))
  })

  it('holds the Python names, the class, the options and the version', async () => {
    const model = smallModel()
    const { __metadata__: metadata, ...entries } = header(await model.saveBytes()) as {
      __metadata__: Record<string, string>
    }
    expect(Object.keys(entries).sort()).toEqual([...model.stateDict().keys()].sort())
    expect(JSON.stringify(metadata)).toContain('AutoregressiveWrapper')
    expect(JSON.stringify(metadata)).toContain('num_tokens')
    expect(JSON.stringify(metadata)).toMatch(/version/)
  })

  it('is an error, not a crash, when it is damaged', async () => {
    const bytes = await smallModel().saveBytes()
    for (const broken of [
      new Uint8Array(0),
      new Uint8Array(100).fill(255),
      bytes.slice(0, bytes.length - 10),
      bytes.slice(0, 20),
    ]) {
      await expect(load(broken)).rejects.toMatchObject({ name: 'XTransformersError' })
      expect(() => loadSync(broken)).toThrowError(
        expect.objectContaining({ name: 'XTransformersError' }),
      )
    }
    await expect(load(5 as never)).rejects.toThrow(/a path, a Uint8Array or an ArrayBuffer/)
  })

  it('has the weights from when save was called', async () => {
    const model = smallModel()
    const before = model.parameters().map(numbers)
    const pending = model.saveBytes()
    const other = new AutoregressiveWrapper(
      new TransformerWrapper({
        num_tokens: 11,
        max_seq_len: 16,
        attn_layers: new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }),
      }),
    )
    const bytes = await pending
    model.loadStateDict(other.stateDict())
    expect(loadSync(bytes).parameters().map(numbers)).toEqual(before)
  })
})

describe('tensors in a file', () => {
  it('are loaded with the same names, types and shapes', async () => {
    const tensors = new Map([
      ['a', tensor([[1.5, 2.5]])],
      ['b.c', tensor([1, 2], { dtype: 'i64' })],
      ['d', ones([2], { dtype: 'u8' })],
    ])
    const file = new FakeFile()
    await saveTensors(tensors, file, { note: 'x' })
    for (const back of [await loadTensors(file), loadTensorsSync(file.content)]) {
      expect(back.metadata).toMatchObject({ note: 'x' })
      expect([...back.tensors.keys()].sort()).toEqual(['a', 'b.c', 'd'])
      for (const [name, value] of tensors) {
        expect(back.tensors.get(name)?.toArray()).toEqual(value.toArray())
        expect(back.tensors.get(name)?.dtype).toBe(value.dtype)
      }
    }
  })
})
