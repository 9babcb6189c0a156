import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  Decoder,
  load,
  loadSync,
  loadTensors,
  ones,
  saveTensors,
  saveTensorsSync,
  TransformerWrapper,
  tensor,
} from 'x-transformers'
import { ids, numbers, smallModel } from './helpers.js'

const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = (name: string) => join(folder, name)

/** The header of a safetensors file. */
function header(bytes: Uint8Array): Record<string, unknown> {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
}

describe('a checkpoint', () => {
  it('rebuilds the whole model', async () => {
    const model = smallModel({ rotary_pos_emb: true, attn_dim_head: 64, ff_mult: 2 })
    await model.save(path('model.safetensors'))
    const loaded = await load<AutoregressiveWrapper>(path('model.safetensors'))
    expect(loaded).toBeInstanceOf(AutoregressiveWrapper)
    expect(loaded.options).toEqual(model.options)
    expect([...loaded.stateDict().keys()]).toEqual([...model.stateDict().keys()])
    expect((await loaded.forward(ids(2, 9))).item()).toBe((await model.forward(ids(2, 9))).item())
    expect(loaded.training).toBe(true)
  })

  it('gives the models within, which share the weights', async () => {
    const original = smallModel()
    expect(original.net.attn_layers).toBeInstanceOf(Decoder)
    const loaded = await load<AutoregressiveWrapper>(await original.saveBytes())
    expect(loaded.net).toBeInstanceOf(TransformerWrapper)
    expect(loaded.net.attn_layers).toBeInstanceOf(Decoder)
    expect(loaded.net).toBe(loaded.net)
    expect(loaded.net.options).toEqual(original.net.options)
    const [inner, outer] = [loaded.net.attn_layers.namedParameters(), loaded.namedParameters()]
    for (const [name, parameter] of inner) expect(outer.get(`net.attn_layers.${name}`)).toBe(parameter)

    const logits = await original.net.forward(ids(1, 4))
    expect(numbers(await loaded.net.forward(ids(1, 4)))).toEqual(numbers(logits))
    const { net } = loaded
    loaded.dispose()
    await expect(net.forward(ids(1, 4))).rejects.toThrow(/disposed/)
  })

  it('is equal from every way to save and load', async () => {
    const model = smallModel()
    model.saveSync(path('sync.safetensors'))
    const bytes = await model.saveBytes()
    expect(header(model.saveBytesSync())).toEqual(header(bytes))
    expect(header(readFileSync(path('sync.safetensors')))).toEqual(header(bytes))
    const copy = new Uint8Array(bytes).buffer
    const models = [loadSync(path('sync.safetensors')), loadSync(bytes), await load(copy), await load(bytes)]
    for (const loaded of models) expect(loaded.parameters().map(numbers)).toEqual(model.parameters().map(numbers))
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

  it('is written to a temporary file first, and leaves none behind', async () => {
    const file = path('atomic.safetensors')
    writeFileSync(file, 'old')
    await smallModel().save(file)
    expect(readdirSync(folder).filter((name) => name.startsWith('atomic'))).toEqual(['atomic.safetensors'])
    await expect(smallModel().save(path('no/such/folder/x.safetensors'))).rejects.toMatchObject({
      name: 'XTransformersError',
    })
  })

  it('that is broken is an error, not a crash', async () => {
    await expect(load(path('nothing.safetensors'))).rejects.toMatchObject({ name: 'XTransformersError' })
    const bytes = await smallModel().saveBytes()
    for (const broken of [
      new Uint8Array(0),
      new Uint8Array(100).fill(255),
      bytes.slice(0, bytes.length - 10),
      bytes.slice(0, 20),
    ]) {
      await expect(load(broken)).rejects.toMatchObject({ name: 'XTransformersError' })
      expect(() => loadSync(broken)).toThrowError(expect.objectContaining({ name: 'XTransformersError' }))
    }
    await expect(load(5 as never)).rejects.toThrow(/a path, a Uint8Array or an ArrayBuffer/)
  })

  it('has the weights of when it was asked for', async () => {
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
  it('come back with names, types and shapes', async () => {
    const tensors = new Map([
      ['a', tensor([[1.5, 2.5]])],
      ['b.c', tensor([1, 2], { dtype: 'i64' })],
      ['d', ones([2], { dtype: 'u8' })],
    ])
    await saveTensors(tensors, path('tensors.safetensors'), { note: 'x' })
    saveTensorsSync(tensors, path('sync.safetensors'), { note: 'x' })
    expect(readFileSync(path('sync.safetensors')).length).toBe(readFileSync(path('tensors.safetensors')).length)
    const back = await loadTensors(path('tensors.safetensors'))
    expect(back.metadata).toMatchObject({ note: 'x' })
    expect([...back.tensors.keys()].sort()).toEqual(['a', 'b.c', 'd'])
    for (const [name, value] of tensors) {
      expect(back.tensors.get(name)?.toArray()).toEqual(value.toArray())
      expect(back.tensors.get(name)?.dtype).toBe(value.dtype)
    }
  })
})
