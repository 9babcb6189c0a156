import { describe, expect, it } from 'vitest'
import { XTransformersError } from 'x-transformers'
import type { DataLoader, DataLoaderState } from 'x-transformers/data'
import { expectError } from './bytes.js'
import { batchesOf, later, loaderOf, range, slow, streamOf } from './loaders.js'

/** For each place in three epochs: the batches from there on are those of one run. */
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
