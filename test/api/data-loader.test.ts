import { describe, expect, it } from 'vitest'
import { SGD, type Tensor, trainStep, XTransformersError } from 'x-transformers'
import { DataLoader, TokenArray, windows } from 'x-transformers/data'
import { expectError } from './bytes.js'
import { numbers, smallModel } from './helpers.js'
import { batchesOf, later, loaderOf, range, slow, streamOf } from './loaders.js'

describe('a DataLoader', () => {
  it('gives the batches of an epoch, and then those of the next one', async () => {
    const loader = loaderOf(range(5))
    expect(loader.length).toBe(3)
    for (let epoch = 0; epoch < 2; epoch++) {
      expect(loader.epoch).toBe(epoch)
      expect(await batchesOf(loader)).toEqual([[0, 1], [2, 3], [4]])
    }
    const dropping = loaderOf(range(5), { drop_last: true })
    expect(dropping.length).toBe(2)
    expect(await batchesOf(dropping)).toEqual([
      [0, 1],
      [2, 3],
    ])
    expect(dropping.epoch).toBe(1)
  })

  it('gives several epochs in one loop', async () => {
    const two = loaderOf(range(3), { epochs: 2, prefetch: 3 })
    expect(await batchesOf(two)).toEqual([[0, 1], [2], [0, 1], [2]])
    expect(two.epoch).toBe(2)
    expect((await batchesOf(two)).length).toBe(4)
    const endless = loaderOf(range(3), { epochs: Number.POSITIVE_INFINITY })
    expect((await batchesOf(endless, 7)).flat()).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1])
    expect(endless.epoch).toBe(3)
  })

  it('keeps the order of examples that come in another one', async () => {
    const loader = loaderOf(slow(40), { batch_size: 35, prefetch: 2 })
    expect((await batchesOf(loader)).flat()).toEqual(range(40))
  })

  it('asks for a few examples at once, not for all of a batch', async () => {
    let [open, most] = [0, 0]
    const dataset = {
      length: 100,
      async get(i: number) {
        most = Math.max(most, ++open)
        await later()
        open--
        return i
      },
    }
    await batchesOf(loaderOf(dataset, { batch_size: 100 }))
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(32)
  })

  it('makes one tensor of rows of ids, as a model takes it', async () => {
    const rows = [[1, 2, 3], Uint16Array.of(4, 5, 60000), BigInt64Array.of(-1n, 7n, 2n ** 40n)]
    const loader = new DataLoader([...rows, [-5, 2 ** 50, -(2 ** 40)]], { batch_size: 4 })
    const [[batch]] = (await batchesOf(loader)) as [[Tensor]]
    expect([batch.dtype, batch.shape]).toEqual(['i64', [4, 3]])
    expect(numbers(batch)).toEqual([
      ...[1, 2, 3, 4, 5, 60000, -1, 7, 2 ** 40, -5, 2 ** 50, -(2 ** 40)],
    ])
    const model = smallModel()
    const tokens = new TokenArray(range(90).map((i) => i % 11))
    const optimizer = new SGD(model.parameters(), { lr: 0.1 })
    const data = new DataLoader(windows(tokens, { length: 8 }), { batch_size: 4, shuffle: true })
    for await (const batch of data) {
      const { loss } = await trainStep(model, optimizer, [batch])
      expect(loss).toBeGreaterThan(0)
      batch[0].dispose()
    }
  })

  it('says which rows are not of one length, or no ids', async () => {
    const of = (rows: unknown[]) => batchesOf(new DataLoader(rows as number[][], { batch_size: 2 }))
    await expectError(of([[1, 2], [3]]), 'invalid_argument', /row 0 has 2 ids and row 1 has 1: pad/)
    await expectError(of([[1.5], [3]]), 'invalid_argument', /row 0 of the batch has 1.5 at 0/)
    await expectError(of([['a'], [3]]), 'invalid_argument', /row 0 of the batch has "a" at 0/)
    await expectError(
      of([{ ids: [1] }, [3]]),
      'invalid_argument',
      /example 0 of the batch must be token ids.* got an object: give a collate_fn; for rows of/,
    )
    await expectError(of([Float32Array.of(1), [3]]), 'invalid_argument', /got a Float32Array/)
  })

  it('refuses options that do not fit', () => {
    const refused = (options: object, message: RegExp, source: unknown = [1, 2, 3]) => {
      const make = () => new DataLoader(source as number[][], options)
      expect(make).toThrow(XTransformersError)
      expect(make).toThrow(message)
    }
    refused({ batchsize: 2 }, /batchsize is not an option of DataLoader; there are batch_size/)
    refused({ batch_size: 0 }, /batch_size must be a whole number from 1, got 0/)
    refused({ batch_size: 1.5 }, /batch_size must be/)
    refused({ shuffle: 'yes' }, /shuffle .* must be true or false, got "yes"/)
    refused({ prefetch: -1 }, /prefetch must be a whole number from 0/)
    refused({ epochs: 0 }, /epochs must be a whole number from 1/)
    refused({ seed: 0.5 }, /seed must be a whole number from 0/)
    refused({ drop_last: 1 }, /drop_last must be true or false/)
    refused({ collate_fn: 'pad' }, /collate_fn must be a function/)
    refused({ sampler: [1], shuffle: true }, /a sampler or shuffle, not both/)
    refused({ sampler: 5 }, /sampler must be an iterable of indices/)
    refused({ shuffle_buffer: 5 }, /shuffle_buffer is for streams: give shuffle/)
    refused({ batch_size: 4, drop_last: true }, /has 3 examples, which make no batch of 4/)
    refused({}, /has 0 examples, which make no batch/, [])
    refused({}, /an object with length and get/, null)
    refused({}, /a stream is a function that gives an iterable/, new Set([1]))
    refused({ shuffle: true }, /give shuffle_buffer, not shuffle/, () => [1])
    refused({ sampler: [1] }, /a sampler needs a dataset/, () => [1])
  })
})

describe('a stream', () => {
  it('begins again in each epoch', async () => {
    let begun = 0
    const stream = async () => {
      begun++
      return range(5)
    }
    const loader = loaderOf(stream)
    expect(loader.length).toBeNull()
    for (let i = 1; i < 3; i++) {
      expect(await batchesOf(loader)).toEqual([[0, 1], [2, 3], [4]])
      expect([begun, loader.epoch]).toEqual([i, i])
    }
  })

  it('is shuffled by a buffer, otherwise in each epoch', async () => {
    const loader = loaderOf(streamOf(100), { shuffle_buffer: 10, seed: 1 })
    const [a, b] = [(await batchesOf(loader)).flat(), (await batchesOf(loader)).flat()]
    for (const order of [a, b]) {
      expect([...order].sort((x, y) => x - y)).toEqual(range(100))
      // an example cannot come before it is in the buffer
      for (const [i, x] of order.entries()) expect(x).toBeLessThanOrEqual(i + 10)
    }
    expect(a).not.toEqual(range(100))
    expect(a).not.toEqual(b)
  })

  it('is closed when the loop is left, and reads no further than it must', async () => {
    let [closed, read] = [0, 0]
    const stream = async function* counted() {
      try {
        for (; read < 1000; read++) yield read
      } finally {
        closed++
      }
    }
    const loader = loaderOf(stream, { prefetch: 2 })
    for await (const _ of loader) {
      await later(10)
      break
    }
    await later(5)
    expect(closed).toBe(1)
    expect(read).toBeLessThanOrEqual(6)
  })

  it('that gives nothing is an error', async () => {
    await expectError(batchesOf(loaderOf(() => [])), 'invalid_argument', /epoch 0 has no batch/)
    const once = range(3).values()
    const loader = loaderOf(() => once)
    expect((await batchesOf(loader)).length).toBe(2)
    await expectError(batchesOf(loader), 'invalid_argument', /epoch 1 has no batch.*begins again/)
    const few = loaderOf(() => [1], { drop_last: true })
    await expectError(batchesOf(few), 'invalid_argument', /fewer than 2 examples, and drop_last/)
  })
})
