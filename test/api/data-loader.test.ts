import { describe, expect, it } from 'vitest'
import {
  randn,
  SGD,
  type Tensor,
  tensor,
  trainStep,
  XTransformersError,
  zeros,
} from 'x-transformers'
import {
  DataLoader,
  type DataLoaderOptions,
  type DataLoaderState,
  type Stream,
  TokenArray,
  windows,
} from 'x-transformers/data'
import { expectError, watchRejections } from './bytes.js'
import { bytesInUse, collect, nextTask, numbers, smallModel } from './helpers.js'

const range = (length: number) => Array.from({ length }, (_, i) => i)
const collate_fn = (examples: number[]) => examples
const later = (ms = 1) => new Promise<void>((resolve) => setTimeout(resolve, ms))

type Options = Omit<DataLoaderOptions<number, number[]>, 'collate_fn'>
type Source = ConstructorParameters<typeof DataLoader<number, number[]>>[0]

const loaderOf = (source: Source, options: Options = {}) =>
  new DataLoader(source, { batch_size: 2, ...options, collate_fn })

async function batchesOf<T>(loader: AsyncIterable<T>, most = Number.POSITIVE_INFINITY) {
  const batches: T[] = []
  if (most === 0) return batches
  for await (const batch of loader) if (batches.push(batch) >= most) break
  return batches
}

/** Examples that come after different times. */
const slow = (length: number) => ({
  length,
  async get(i: number) {
    await later((i * 7) % 4)
    return i
  },
})

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

/** For each place in three epochs: the batches from there on are those of the run without a stop. */
async function goesOn(make: (seed?: number) => DataLoader<number, number[]>): Promise<void> {
  const whole = make()
  const want: number[][] = []
  for (let epoch = 0; epoch < 3; epoch++) want.push(...(await batchesOf(whole)))
  for (let stop = 0; stop <= want.length; stop++) {
    const first = make()
    const got: number[][] = []
    for (; got.length < stop; ) got.push(...(await batchesOf(first, stop - got.length)))
    const state: DataLoaderState = JSON.parse(JSON.stringify(first.stateDict()))
    // a seed of its own does not count
    const second = make(99)
    second.loadStateDict(state)
    expect(second.stateDict()).toEqual(state)
    while (second.epoch < 3) got.push(...(await batchesOf(second)))
    expect(got).toEqual(want)
  }
}

/** A stream that may come in pieces of time. */
const streamOf = (length: number): Stream<number> =>
  async function* examples() {
    for (let i = 0; i < length; i++) {
      if (i % 3 === 0) await later(0)
      yield i
    }
  }

describe('going on from a state', () => {
  it('gives the batches of a run that was not stopped', async () => {
    for (const prefetch of [0, 1, 4])
      for (const shuffle of [false, true, 'with_replacement'] as const)
        for (const drop_last of [false, true])
          await goesOn((seed = 5) => loaderOf(range(9), { prefetch, shuffle, drop_last, seed }))
  })

  it('does so for a dataset that takes time', async () => {
    await goesOn((seed = 5) => loaderOf(slow(7), { prefetch: 3, shuffle: true, seed }))
  })

  it('does so for samplers', async () => {
    const sampler = (epoch: number) => range(5).map((i) => (i * 2 + epoch) % 5)
    await goesOn(() => loaderOf(range(5), { sampler, prefetch: 2 }))
  })

  it('does so for streams, shuffled by a buffer too', async () => {
    for (const shuffle_buffer of [0, 3, 100])
      for (const drop_last of [false, true])
        await goesOn((seed = 5) =>
          loaderOf(streamOf(9), { shuffle_buffer, drop_last, prefetch: 2, seed }),
        )
  })

  it('does not count what was made ahead', async () => {
    const loader = loaderOf(range(20), { prefetch: 4 })
    for await (const batch of loader) {
      await later(5)
      const { epoch, position } = loader.stateDict()
      expect(epoch * 20 + position).toBe((batch[1] as number) + 1)
    }
    const { seed, shuffle, length } = loader.stateDict()
    expect(loader.stateDict()).toEqual({ epoch: 1, position: 0, seed, shuffle, length })
  })

  it('goes on with another size of batches', async () => {
    const loader = loaderOf(range(10), { shuffle: true, seed: 3 })
    const got = (await batchesOf(loader, 2)).flat()
    const other = loaderOf(range(10), { shuffle: true, batch_size: 3 })
    other.loadStateDict(loader.stateDict())
    const want = (await batchesOf(loaderOf(range(10), { shuffle: true, seed: 3 }))).flat()
    expect([...got, ...(await batchesOf(other)).flat()]).toEqual(want)
  })

  it('refuses a state that does not fit, and changes nothing', async () => {
    const loader = loaderOf(range(10), { shuffle: true, seed: 3 })
    await batchesOf(loader, 2)
    const state = loader.stateDict()
    const refused = (change: object | null, message: RegExp) => {
      const given = change === null ? null : { ...state, position: 2, ...change }
      expect(() => loader.loadStateDict(given as never)).toThrow(XTransformersError)
      expect(() => loader.loadStateDict(given as never)).toThrow(message)
      expect(loader.stateDict()).toEqual(state)
    }
    refused(null, /the state must be an object of stateDict\(\), got null/)
    refused({ epoch: -1 }, /epoch of the state must be a whole number/)
    refused({ position: '3' }, /position of the state must be/)
    refused({ seed: null }, /seed must be/)
    refused({ length: 11 }, /a loader with 11 examples, this one has 10/)
    refused({ length: null }, /an unknown number of examples/)
    refused({ shuffle: 'none' }, /shuffling "none", this one has shuffle/)
  })

  it('ends a loop that is under way', async () => {
    const loader = loaderOf(range(10))
    const loop = async () => {
      for await (const _ of loader) loader.loadStateDict({ ...loader.stateDict(), position: 6 })
    }
    await expectError(loop(), 'invalid_state', /this loop .* cannot go on/)
    expect(await batchesOf(loader)).toEqual([
      [6, 7],
      [8, 9],
    ])
    const first = loader[Symbol.asyncIterator]()
    await first.next()
    expect((await batchesOf(loader)).length).toBe(4)
    await expectError(first.next(), 'invalid_state', /another one has begun/)
  })
})

describe('batches that are made ahead', () => {
  it('are made while the caller works', async () => {
    const begun: number[] = []
    const dataset = {
      length: 10,
      async get(i: number) {
        begun.push(i)
        await later()
        return i
      },
    }
    for (const prefetch of [0, 1, 3]) {
      begun.length = 0
      for await (const [i] of loaderOf(dataset, { batch_size: 1, prefetch })) {
        expect(begun.length).toBeLessThanOrEqual((i as number) + 1 + prefetch)
        await later(20)
        expect(begun.length).toBe(Math.min(10, (i as number) + 1 + prefetch))
      }
    }
  })

  it('throw their error when they have their turn, and are tried again', async () => {
    const { seen, stop } = watchRejections()
    const reason = new Error('no such example')
    let fails = true
    const dataset = {
      length: 8,
      async get(i: number) {
        if (i === 4 && fails) throw reason
        return i
      },
    }
    for (const prefetch of [0, 3]) {
      fails = true
      const loader = loaderOf(dataset, { prefetch })
      const got: number[][] = []
      const loop = async () => {
        for await (const batch of loader) {
          got.push(batch)
          await later(5)
        }
      }
      await expect(loop()).rejects.toBe(reason)
      expect(got).toEqual([
        [0, 1],
        [2, 3],
      ])
      expect(loader.stateDict()).toMatchObject({ epoch: 0, position: 4 })
      fails = false
      expect(await batchesOf(loader)).toEqual([
        [4, 5],
        [6, 7],
      ])
    }
    await later(5)
    stop()
    expect(seen).toEqual([])
  })

  it('fail as collate_fn and streams do', async () => {
    const reason = new Error('own')
    const own = (make: () => AsyncIterable<unknown>) =>
      expect(batchesOf(make())).rejects.toBe(reason)
    const raise = () => {
      throw reason
    }
    await own(() => new DataLoader([1], { collate_fn: raise }))
    await own(() => new DataLoader([1], { collate_fn: async () => raise() }))
    await own(() => new DataLoader({ length: 1, get: raise }))
    await own(() => new DataLoader({ length: 1, get: () => [1] }, { sampler: raise }))
    await own(() => new DataLoader(raise))
    await own(
      () =>
        new DataLoader(async function* broken() {
          yield [1]
          raise()
        }),
    )
    const wrong = new DataLoader((() => 5) as never)
    await expectError(batchesOf(wrong), 'invalid_argument', /what the stream gives must be an iter/)
  })

  it('free their tensors when the loop is left early', async () => {
    const size = 64 * 1024
    const dataset = { length: 50, get: (i: number) => new Uint8Array(size).fill(i) }
    const loader = new DataLoader(dataset, { prefetch: 5 })
    await collect()
    const before = bytesInUse()
    for await (const [batch] of loader) {
      await later(20)
      // this one, and those that were made ahead
      expect(bytesInUse() - before).toBeGreaterThanOrEqual(6 * size * 8)
      batch.dispose()
      break
    }
    await nextTask()
    expect(bytesInUse() - before).toBeLessThan(size)
    for await (const [batch] of loader) {
      expect(numbers(batch)[0]).toBe(1)
      batch.dispose()
      break
    }
  })

  it('free them too where they are ready only later, and after an error', async () => {
    const size = 64 * 1024
    const dataset = {
      length: 9,
      async get(i: number) {
        if (i === 3) throw new Error('three')
        await later(i === 0 ? 0 : 20)
        return new Uint8Array(size)
      },
    }
    await collect()
    const before = bytesInUse()
    const loader = new DataLoader(dataset, { prefetch: 4 })
    for await (const [batch] of loader) {
      await later(5)
      batch.dispose()
      break
    }
    await later(60)
    expect(bytesInUse() - before).toBeLessThan(size)
    const loop = async () => {
      for await (const [batch] of loader) batch.dispose()
    }
    await expect(loop()).rejects.toThrow('three')
    await later(60)
    expect(bytesInUse() - before).toBeLessThan(size)
  })

  it('leave the tensors of the examples alone', async () => {
    const rows = [zeros([2]), randn([2]), tensor([1, 2])]
    const loader = new DataLoader(rows, { collate_fn: ([x]) => ({ x }), prefetch: 2 })
    for await (const { x } of loader) {
      await later(5)
      expect(x).toBe(rows[0])
      break
    }
    await nextTask()
    expect(rows.map((row) => numbers(row).length)).toEqual([2, 2, 2])
  })

  it('take no memory that grows', async () => {
    const tokens = new TokenArray(range(20_000).map((i) => i % 11))
    const loader = new DataLoader(windows(tokens, { length: 64 }), {
      batch_size: 12,
      shuffle: true,
      prefetch: 2,
    })
    const epoch = async () => {
      for await (const [batch] of loader) batch.dispose()
      await collect()
      return bytesInUse()
    }
    const first = await epoch()
    for (let i = 0; i < 5; i++) await epoch()
    expect(await epoch()).toBeLessThan(first + 4096)
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
