// Checkpoints in files. Their contents are tested in test/api/checkpoint.test.ts, other sources in
// sources.test.ts.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  full,
  load,
  loadSync,
  loadTensors,
  loadTensorsSync,
  memory,
  ones,
  saveTensors,
  saveTensorsSync,
  tensor,
} from 'x-transformers'
import { header } from '../api/bytes.js'
import { ids, numbers, smallModel } from '../api/helpers.js'

const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = (name: string) => join(folder, name)

describe('a checkpoint in a file', () => {
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

  it('is the same from every way to save and load', async () => {
    const model = smallModel()
    model.saveSync(path('sync.safetensors'))
    await model.save(path('async.safetensors'))
    const bytes = await model.saveBytes()
    for (const name of ['sync.safetensors', 'async.safetensors']) {
      expect(header(readFileSync(path(name)))).toEqual(header(bytes))
      for (const loaded of [loadSync(path(name)), await load(path(name))]) {
        expect(loaded.parameters().map(numbers)).toEqual(model.parameters().map(numbers))
      }
    }
  })

  it('is written to a temporary file first, and leaves none behind', async () => {
    const file = path('atomic.safetensors')
    writeFileSync(file, 'old')
    await smallModel().save(file)
    expect(readdirSync(folder).filter((name) => name.startsWith('atomic'))).toEqual([
      'atomic.safetensors',
    ])
    await expect(smallModel().save(path('no/such/folder/x.safetensors'))).rejects.toMatchObject({
      name: 'XTransformersError',
    })
  })

  it('is an error, not a crash, when it is missing or damaged', async () => {
    const bytes = await smallModel().saveBytes()
    writeFileSync(path('cut.safetensors'), bytes.subarray(0, bytes.length - 10))
    for (const name of ['nothing.safetensors', 'cut.safetensors']) {
      await expect(load(path(name))).rejects.toMatchObject({ name: 'XTransformersError' })
      expect(() => loadSync(path(name))).toThrowError(
        expect.objectContaining({ name: 'XTransformersError' }),
      )
    }
  })
})

describe('a large file', () => {
  it('is read into its tensors in chunks, without a copy of it in memory', async () => {
    const size = 96 * 2 ** 20
    const halves = ['a', 'b'].map((name, i) => [name, full([size / 8], i + 1)] as const)
    await saveTensors(new Map(halves), path('large.safetensors'))
    for (const [, half] of halves) half.dispose()
    gc?.()
    const buffers = process.memoryUsage().arrayBuffers
    const native = memory().native_bytes
    let most = 0
    const on_progress = () => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - buffers)
    }
    const { tensors } = await loadTensors(path('large.safetensors'), { on_progress })
    expect(most).toBeLessThan(16 * 2 ** 20)
    expect(memory().native_bytes - native).toBeLessThan(size * 1.05)
    expect(tensors.get('b')?.mean().item()).toBe(2)
    expect(loadTensorsSync(path('large.safetensors')).tensors.get('a')?.mean().item()).toBe(1)
  })
})

describe('tensors in a file', () => {
  it('are loaded with the same names, types and shapes', async () => {
    const tensors = new Map([
      ['a', tensor([[1.5, 2.5]])],
      ['b.c', tensor([1, 2], { dtype: 'i64' })],
      ['d', ones([2], { dtype: 'u8' })],
    ])
    await saveTensors(tensors, path('tensors.safetensors'), { note: 'x' })
    saveTensorsSync(tensors, path('tensors-sync.safetensors'), { note: 'x' })
    expect(readFileSync(path('tensors-sync.safetensors')).length).toBe(
      readFileSync(path('tensors.safetensors')).length,
    )
    for (const back of [
      await loadTensors(path('tensors.safetensors')),
      loadTensorsSync(path('tensors-sync.safetensors')),
    ]) {
      expect(back.metadata).toMatchObject({ note: 'x' })
      expect([...back.tensors.keys()].sort()).toEqual(['a', 'b.c', 'd'])
      for (const [name, value] of tensors) {
        expect(back.tensors.get(name)?.toArray()).toEqual(value.toArray())
        expect(back.tensors.get(name)?.dtype).toBe(value.dtype)
      }
    }
  })
})
