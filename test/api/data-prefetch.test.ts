import { describe, expect, it } from 'vitest'
import { randn, tensor, zeros } from 'x-transformers'
import { DataLoader, TokenArray, windows } from 'x-transformers/data'
import { expectError, watchRejections } from './bytes.js'
import { bytesInUse, collect, nextTask, numbers } from './helpers.js'
import { batchesOf, later, loaderOf, range } from './loaders.js'

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
