import { describe, expect, it } from 'vitest'
import { manualSeed, XTransformersError } from 'x-transformers'
import {
  ArrayDataset,
  DataLoader,
  type Dataset,
  mapped,
  randomSplit,
  subset,
  type Turn,
} from 'x-transformers/data'
import { expectError } from './bytes.js'

const range = (length: number) => Array.from({ length }, (_, i) => i)
const sorted = (list: readonly number[]) => [...list].sort((a, b) => a - b)

function all<T>(dataset: Dataset<T>): T[] {
  return range(dataset.length).map((i) => dataset.get(i) as T)
}

/** The examples of one epoch, as a loader orders them. */
async function epoch(loader: DataLoader<number, number[]>): Promise<number[]> {
  const got: number[] = []
  for await (const batch of loader) got.push(...batch)
  return got
}

const collate_fn = (examples: number[]) => examples

function refused(run: () => unknown, message: RegExp, code = 'invalid_argument'): void {
  expect(run).toThrow(XTransformersError)
  expect(run).toThrow(message)
  expect(run).toThrow(expect.objectContaining({ code }))
}

describe('a dataset', () => {
  it('has the examples of an array', () => {
    const dataset = new ArrayDataset(['a', 'b'])
    expect(dataset.length).toBe(2)
    expect(all(dataset)).toEqual(['a', 'b'])
    for (const index of [-1, 2, 0.5, Number.NaN, '0'])
      refused(() => dataset.get(index as number), /index must be a whole number from 0 to 1/)
    refused(() => new ArrayDataset('ab' as never), /the examples must be an array, got "ab"/)
  })

  it('has some of the examples of another one', () => {
    const few = subset(['a', 'b', 'c'], [2, 0, 2])
    expect(all(few)).toEqual(['c', 'a', 'c'])
    expect(all(subset(few, new Set([1])))).toEqual(['a'])
    expect(all(subset(few, new Uint8Array([0, 1]) as never))).toEqual(['c', 'a'])
    refused(() => subset(['a'], [0, 1]), /indices\[1\] must be a whole number from 0 to 0, got 1/)
    refused(() => few.get(3), /index must be/)
    refused(() => subset({ length: -1, get: () => 0 }, []), /the length of the dataset must be/)
    refused(() => subset(5 as never, []), /must be an object with length and get\(index\)/)
  })

  it('is made of another one when it is asked', async () => {
    let calls = 0
    const double = mapped([1, 2, 3], (x, i) => {
      calls++
      return x * 2 + i
    })
    expect(double.length).toBe(3)
    expect(calls).toBe(0)
    expect(all(double)).toEqual([2, 5, 8])
    const later = mapped({ length: 1, get: async () => 7 }, async (x) => `${x}`)
    expect(await later.get(0)).toBe('7')
    refused(() => mapped([1], 5 as never), /transform must be a function/)
  })

  it('tells what it is made of whose turn it is, and refuses what is no turn', () => {
    const turns: unknown[] = []
    const own = { length: 9, get: (i: number, turn?: Turn) => turns.push([i, turn]) }
    const few = subset(own, [4])
    const [one] = randomSplit(few, [1], { seed: 1 }) as [Dataset<number>]
    one.get(0, { epoch: 2, seed: 3 })
    one.get(0)
    expect(turns).toEqual([
      [4, { epoch: 2, seed: 3 }],
      [4, { epoch: 0, seed: 0 }],
    ])
    refused(() => few.get(0, 5 as never), /the turn must be an object \{ epoch, seed \}/)
    refused(() => few.get(0, { epoch: -1, seed: 0 }), /epoch must be a whole number from 0/)
    refused(() => few.get(0, { epoch: 0, seed: 0.5 }), /seed must be a whole number from 0/)
  })
})

describe('randomSplit', () => {
  it('gives each example to one part', () => {
    const parts = randomSplit(range(100), [70, 20, 10], { seed: 3 })
    expect(parts.map(({ length }) => length)).toEqual([70, 20, 10])
    expect(sorted(parts.flatMap(all))).toEqual(range(100))
    const [first] = parts as [Dataset<number>]
    expect(all(first)).not.toEqual(sorted(all(first)))
    expect(randomSplit(range(100), [70, 20, 10], { seed: 3 }).map(all)).toEqual(parts.map(all))
    expect(randomSplit(range(100), [70, 20, 10], { seed: 4 }).map(all)).not.toEqual(parts.map(all))
  })

  it('takes fractions, and gives what is left to the first parts', () => {
    const lengths = (n: number, fractions: number[]) =>
      randomSplit(range(n), fractions).map(({ length }) => length)
    expect(lengths(10, [0.5, 0.3, 0.2])).toEqual([5, 3, 2])
    expect(lengths(11, [1 / 3, 1 / 3, 1 / 3])).toEqual([4, 4, 3])
    expect(lengths(5, [1])).toEqual([5])
    expect(lengths(1, [1])).toEqual([1])
    expect(lengths(0, [0.9, 0.1])).toEqual([0, 0])
  })

  it('draws its seed from the sequence of manualSeed', () => {
    const split = () => randomSplit(range(50), [0.5, 0.5]).map(all)
    manualSeed(1)
    const [a, b] = [split(), split()]
    manualSeed(1)
    expect(split()).toEqual(a)
    expect(b).not.toEqual(a)
  })

  it('refuses what does not add up', () => {
    refused(() => randomSplit(range(10), [5, 4]), /add up to the 10 examples .* their sum is 9/)
    refused(() => randomSplit(range(10), [0.5, 0.4]), /add up to/)
    refused(() => randomSplit(range(10), [-1, 11]), /lengths must be an array of numbers/)
    refused(() => randomSplit(range(10), []), /lengths must be/)
    refused(() => randomSplit(range(10), [10], { seed: -1 }), /seed must be a whole number from 0/)
    refused(
      () => randomSplit(range(10), [10], { sede: 1 } as never),
      /sede is not an option of randomSplit\(\)/,
      'invalid_options',
    )
  })
})

describe('the order of examples', () => {
  const shuffled = (length: number, seed: number) =>
    new DataLoader(range(length), { batch_size: 64, shuffle: true, seed, collate_fn })

  it('is the same on every platform', async () => {
    expect(await epoch(shuffled(12, 42))).toEqual([9, 1, 3, 5, 6, 8, 10, 4, 0, 2, 7, 11])
    const drawn = new DataLoader(range(12), {
      shuffle: 'with_replacement',
      seed: 42,
      collate_fn,
    })
    expect(await epoch(drawn)).toEqual([2, 6, 5, 6, 8, 5, 2, 11, 1, 7, 7, 4])
    const many = { length: 1e12, get: (i: number) => i }
    const loader = new DataLoader(many, { batch_size: 4, shuffle: true, seed: 42, collate_fn })
    for await (const batch of loader) {
      expect(batch).toEqual([897128258275, 28516844312, 715541571513, 137757640858])
      break
    }
  })

  it('has each example once, whatever their number', async () => {
    for (const length of [1, 2, 3, 5, 8, 33, 1000, 4096, 4097, 8192, 10_000]) {
      const loader = shuffled(length, length)
      for (let i = 0; i < 2; i++) expect(sorted(await epoch(loader))).toEqual(range(length))
    }
  })

  it('differs between epochs and seeds', async () => {
    const loader = shuffled(100, 1)
    const orders = [await epoch(loader), await epoch(loader), await epoch(shuffled(100, 2))]
    expect(orders[0]).not.toEqual(orders[1])
    expect(orders[0]).not.toEqual(orders[2])
  })

  it('has every order of a few examples about as often', async () => {
    const counts = new Map<string, number>()
    const loader = shuffled(4, 7)
    for (let i = 0; i < 4800; i++) {
      const order = (await epoch(loader)).join('')
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(24)
    const chi = [...counts.values()].reduce((sum, n) => sum + (n - 200) ** 2 / 200, 0)
    // 23 degrees of freedom: one in a thousand is above 49.7
    expect(chi).toBeLessThan(49.7)
  })

  it('has no pattern among many examples', async () => {
    const order = await epoch(shuffled(10_000, 5))
    // neighbours are as far apart as in a random order: a third of the length
    const far = order.slice(1).map((x, i) => Math.abs(x - (order[i] as number)))
    const mean = far.reduce((a, b) => a + b, 0) / far.length
    expect(Math.abs(mean - 3333)).toBeLessThan(75)
    expect(order.filter((x, i) => x === i).length).toBeLessThan(8)
  })

  it('needs no list for a dataset of any length', async () => {
    const length = 2 ** 53 - 1
    const loader = new DataLoader({ length, get: (i) => i }, { shuffle: true, seed: 1, collate_fn })
    let count = 0
    for await (const [i] of loader) {
      expect(Number.isSafeInteger(i) && (i as number) >= 0 && (i as number) < length).toBe(true)
      if (++count === 100) break
    }
    expect(loader.stateDict().position).toBe(100)
  })

  it('draws with replacement', async () => {
    const loader = new DataLoader(range(1000), {
      batch_size: 100,
      shuffle: 'with_replacement',
      seed: 9,
      collate_fn,
    })
    const drawn = await epoch(loader)
    expect(drawn.length).toBe(1000)
    // 1 - 1/e of them
    expect(Math.abs(new Set(drawn).size - 632)).toBeLessThan(50)
    expect(await epoch(loader)).not.toEqual(drawn)
  })

  it('is that of a sampler', async () => {
    const own = new DataLoader(range(5), { batch_size: 2, sampler: [4, 4, 0], collate_fn })
    expect(own.length).toBeNull()
    expect(await epoch(own)).toEqual([4, 4, 0])
    expect(await epoch(own)).toEqual([4, 4, 0])
    const by = new DataLoader(range(5), { sampler: (epoch) => [epoch, 1], collate_fn })
    expect(await epoch(by)).toEqual([0, 1])
    expect(await epoch(by)).toEqual([1, 1])
    const wrong = new DataLoader(range(5), { sampler: [5], collate_fn })
    await expectError(epoch(wrong), 'invalid_argument', /an index of the sampler must be .* got 5/)
    const once = new DataLoader(range(5), { sampler: [1].values(), collate_fn })
    expect(await epoch(once)).toEqual([1])
    await expectError(epoch(once), 'invalid_argument', /epoch 1 has no batch/)
  })
})
