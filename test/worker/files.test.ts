import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import { type AutoregressiveWrapper, type Progress, tensor } from 'x-transformers/worker'
import { expectClose } from '../api/helpers.js'
import { recorded, recordedModel } from '../api/recorded.js'
import { ids, library, numbers, smallModel } from './helpers.js'

describe('a checkpoint in a worker', () => {
  it('can be exchanged between the libraries in both directions', async () => {
    const x = await library()
    const model = smallModel(x)
    const bytes = await model.saveBytes()
    const own = await main.load<main.AutoregressiveWrapper>(bytes)
    const loss = (await model.forward(ids(2, 9))).item()
    expect((await own.forward(main.tensor(ids(2, 9).data, { shape: [2, 9] }))).item()).toBe(loss)

    const loaded = await x.load<AutoregressiveWrapper>(await own.saveBytes())
    expect(loaded).toBeInstanceOf(x.AutoregressiveWrapper)
    expect(loaded.net).toBeInstanceOf(x.TransformerWrapper)
    expect(loaded.net.attn_layers).toBeInstanceOf(x.Decoder)
    expect(loaded.net).toBe(loaded.net)
    expect(await loaded.describe()).toEqual(await model.describe())
    expect((await loaded.forward(ids(2, 9))).item()).toBe(loss)
    expect(numbers(await loaded.net.forward(ids(1, 4)))).toEqual(
      numbers(await model.net.forward(ids(1, 4))),
    )
    await loaded.ready
    // a model inside can be part of another one
    const again = new x.AutoregressiveWrapper(loaded.net)
    expect((await again.forward(ids(2, 9))).item()).toBe(loss)
  })

  it('is loaded from memory, a Blob or a stream', async () => {
    const x = await library()
    const model = smallModel(x)
    const bytes = await model.saveBytes()
    const want = (await model.forward(ids(2, 9))).item()
    const blob = await model.saveBlob()
    expect(blob).toBeInstanceOf(Blob)
    expect(blob.size).toBe(bytes.length)
    const buffer = bytes.slice().buffer
    const part = new Uint8Array(bytes.length + 16)
    part.set(bytes, 8)
    for (const source of [bytes, buffer, part.subarray(8, 8 + bytes.length), blob, blob.stream()]) {
      const loaded = await x.load<AutoregressiveWrapper>(source as Blob)
      expect((await loaded.forward(ids(2, 9))).item()).toBe(want)
    }
    expect(bytes.length).toBeGreaterThan(0)
    expect(buffer.byteLength).toBe(bytes.length)
    await x.load(buffer, { transfer: true })
    expect(buffer.byteLength).toBe(0)
  })

  it('reports its progress', async () => {
    const x = await library()
    const bytes = await smallModel(x).saveBytes()
    const seen: Progress[] = []
    await x.load(new Blob([bytes as Uint8Array<ArrayBuffer>]), {
      on_progress: (progress) => seen.push(progress),
    })
    expect(seen.at(-1)).toEqual({ loaded: bytes.length, total: bytes.length })
    const failing = x.load(bytes, {
      on_progress: () => {
        throw new Error('mine')
      },
    })
    await expect(failing).rejects.toThrow('mine')
  })

  it('does not block other calls', async () => {
    const x = await library()
    const model = smallModel(x)
    const bytes = await model.saveBytes()
    let open = () => {}
    const slow = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(bytes.slice(0, 10))
        await new Promise<void>((resolve) => {
          open = resolve
        })
        controller.enqueue(bytes.slice(10))
        controller.close()
      },
    })
    const pending = x.load<AutoregressiveWrapper>(slow)
    const loss = (await model.forward(ids(2, 9))).item()
    open()
    expect((await (await pending).forward(ids(2, 9))).item()).toBe(loss)
  })

  it('leaves nothing behind if it is aborted', async () => {
    const x = await library()
    const bytes = await smallModel(x).saveBytes()
    const before = (await x.memory()).native_bytes
    const never = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(bytes.slice(0, 10)),
    })
    const controller = new AbortController()
    const pending = x.load(never, { signal: controller.signal })
    setTimeout(() => controller.abort('enough'), 20)
    await expect(pending).rejects.toBe('enough')
    await expect(x.load(bytes, { signal: controller.signal })).rejects.toBe('enough')
    for (let i = 0; i < 5; i++) {
      const late = new AbortController()
      const load = x.load(bytes, { signal: late.signal, on_progress: () => late.abort('late') })
      await expect(load).rejects.toBe('late')
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
    // not one of the models; their small objects wait for the garbage collector
    expect((await x.memory()).native_bytes).toBeLessThan(before + bytes.length / 2)
  })

  it('is an error if it is invalid', async () => {
    const x = await library()
    await expect(x.load(new Uint8Array(100))).rejects.toMatchObject({ code: 'invalid_checkpoint' })
    await expect(x.load(5 as never)).rejects.toThrow(/5 cannot be loaded in a worker/)
    await expect(x.load(new Response('') as never)).rejects.toThrow(/give its blob\(\)/)
    await expect(x.load(new URL('data:,nothing'))).rejects.toMatchObject({
      code: 'invalid_checkpoint',
    })
    await expect(x.load({ getFile: () => 1 } as never)).rejects.toThrow(/cannot go to a worker/)
    await expect(x.load(new Uint8Array(8), { strict: true } as never)).rejects.toMatchObject({
      name: 'XTransformersError',
    })
  })

  it('of Python is loaded into a model, and later calls wait for it', async () => {
    const x = await library()
    const { options, layers, tokens, logits } = await recordedModel()
    const make = () =>
      new x.TransformerWrapper({ ...options, attn_layers: new x.Decoder(layers) }).eval()
    const input = tensor(tokens, { shape: [1, tokens.length], dtype: 'i64' })
    const shards = [1, 2].map((i) => recorded(`sharded-0000${i}-of-00002.safetensors`))
    const sources = [
      [await recorded('model.pt'), null],
      [new Blob([await recorded('model.pt')]), null],
      [new Blob([await recorded('model.pt')]).stream(), null],
      [await recorded('parallel.pt'), 'module.'],
      [await Promise.all(shards), null],
    ] as const
    for (const [source, prefix] of sources) {
      const model = make()
      const seen: Progress[] = []
      const loading = model.loadWeights(source, { on_progress: (progress) => seen.push(progress) })
      expectClose(numbers(await model.forward(input)), logits)
      expect(await loading).toEqual({ missing: [], unexpected: [], mismatched: [], prefix })
      expect(seen.at(-1)?.total).toBe(seen.at(-1)?.loaded)
    }
    const model = make()
    const report = await model.loadWeights(await recorded('small.pt'), { strict: false })
    expect(report.unexpected).toEqual(['weight', 'bias'])
    await expect(model.loadWeights(await recorded('two.pt'))).rejects.toThrow(/option `key`/)
    await model.loadWeights(await recorded('two.pt'), { key: 'model' })
    expectClose(numbers(await model.forward(input)), logits)
  })

  it('of Python changes nothing if it is rejected or aborted', async () => {
    const x = await library()
    const model = smallModel(x)
    const before = (await model.forward(ids(2, 9))).item()
    await expect(model.loadWeights(await recorded('hostile.pt'))).rejects.toMatchObject({
      code: 'invalid_checkpoint',
      message: expect.stringMatching(/Nothing in the file was executed/),
    })
    const bytes = (await smallModel(x).saveBytes()).slice()
    const late = new AbortController()
    const on_progress = () => late.abort('late')
    await expect(model.loadWeights(bytes, { signal: late.signal, on_progress })).rejects.toBe(
      'late',
    )
    expect((await model.forward(ids(2, 9))).item()).toBe(before)
    await model.loadWeights(bytes.buffer, { transfer: true })
    expect(bytes.length).toBe(0)
    expect((await model.forward(ids(2, 9))).item()).not.toBe(before)
  })

  it('is saved to a stream', async () => {
    const x = await library()
    const model = smallModel(x)
    const optimizer = new x.AdamW(model)
    for (const object of [model, optimizer]) {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
      const [file] = await Promise.all([
        new Response(readable).arrayBuffer(),
        object.save(writable),
      ])
      expect(file.byteLength).toBe((await object.saveBytes()).length)
    }
    await expect(model.save(5 as never)).rejects.toMatchObject({ code: 'invalid_argument' })
  })
})
