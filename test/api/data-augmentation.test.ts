// Examples that are made anew in each epoch, with random numbers.
import { describe, expect, it } from 'vitest'
import { DataLoader, type DataLoaderOptions, mapped, subset } from 'x-transformers/data'
import { batchesOf, later, range, slow } from './loaders.js'

type Options = Omit<DataLoaderOptions<number[], number[][]>, 'collate_fn'>

/** Each number with three random ones. */
const withThree = (i: number, _: number, random: () => number) => [i, random(), random(), random()]

const loaderOf = (options: Options, source = mapped(range(9), withThree)) =>
  new DataLoader(source, { seed: 5, ...options, collate_fn: (examples) => examples })

const sorted = (examples: number[][]) => examples.sort(([a = 0], [b = 0]) => a - b)

/** The examples of each epoch, in the order of the dataset. */
async function epochsOf(loader: DataLoader<number[], number[][]>, count = 2) {
  const epochs: number[][][] = []
  for (let i = 0; i < count; i++) epochs.push(sorted((await batchesOf(loader)).flat()))
  return epochs
}

describe('the random numbers of an example', () => {
  it('are the same on every platform', async () => {
    const [[first], [again]] = (await epochsOf(loaderOf({}))) as [number[][], number[][]]
    expect(first).toEqual([0, 0.7727916096505244, 0.6759598668644997, 0.9505947150625956])
    expect(again).toEqual([0, 0.9604341461481741, 0.8652500168767137, 0.010470034528590744])
  })

  it('follow from seed, epoch and number alone', async () => {
    const want = await epochsOf(loaderOf({}))
    for (const batch_size of [1, 2, 9])
      for (const prefetch of [0, 3])
        for (const shuffle of [false, true])
          expect(await epochsOf(loaderOf({ batch_size, prefetch, shuffle }))).toEqual(want)
    const [epoch] = await epochsOf(loaderOf({}, mapped(slow(9), withThree)))
    expect(epoch).toEqual(want[0])
    const own = mapped(range(9), async (i, index, random) => {
      await later((i * 5) % 3)
      return withThree(i, index, random)
    })
    expect(await epochsOf(loaderOf({ batch_size: 4 }, own))).toEqual(want)
    expect(await mapped(range(9), withThree).get(2, { epoch: 1, seed: 5 })).toEqual(want[1]?.[2])
  })

  it('are others in each epoch, for each example, and with each seed', async () => {
    const some = await epochsOf(loaderOf({}), 3)
    const others = await epochsOf(loaderOf({ seed: 6 }), 3)
    const drawn = [...some, ...others].flat().flatMap((example) => example.slice(1))
    expect(new Set(drawn).size).toBe(2 * 3 * 9 * 3)
  })

  it('are spread evenly, and those of neighbours are independent', () => {
    const many = mapped(range(5000), withThree)
    const rows = range(5000).map((i) => (many.get(i) as number[]).slice(1))
    const values = rows.flat()
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true)
    const tenths = new Array<number>(10).fill(0)
    for (const value of values) (tenths[Math.floor(10 * value)] as number)++
    const chi = tenths.reduce((sum, n) => sum + (n - 1500) ** 2 / 1500, 0)
    // 9 degrees of freedom: one in a thousand is above 27.9
    expect(chi).toBeLessThan(27.9)
    const correlation = (pairs: [number, number][]) =>
      (12 * pairs.reduce((sum, [a, b]) => sum + (a - 0.5) * (b - 0.5), 0)) / pairs.length
    const next = rows.slice(1).map((row, i): [number, number] => [rows[i]?.[0] ?? 0, row[0] ?? 0])
    const within = rows.map(([a = 0, b = 0]): [number, number] => [a, b])
    // a deviation is 1 / sqrt(5000)
    for (const pairs of [next, within]) expect(Math.abs(correlation(pairs))).toBeLessThan(0.05)
  })

  it('are others in a dataset of a dataset that draws too', async () => {
    const inner = mapped(range(9), (_, __, random) => random())
    const outer = mapped(subset(inner, range(9)), (x, _, random) => [x, random()])
    const [examples = []] = await epochsOf(loaderOf({}, outer), 1)
    expect(new Set(examples.flat()).size).toBe(18)
  })
})

describe('going on from a state', () => {
  it('gives the same examples bit for bit, whatever the seed of the new loader is', async () => {
    for (const shuffle of [false, true, 'with_replacement'] as const) {
      const options = { batch_size: 2, prefetch: 2, shuffle }
      const whole = loaderOf(options)
      const want = [...(await batchesOf(whole)), ...(await batchesOf(whole))]
      for (let stop = 1; stop < want.length; stop++) {
        const first = loaderOf(options)
        const got: number[][][] = []
        while (got.length < stop) got.push(...(await batchesOf(first, stop - got.length)))
        const second = loaderOf({ ...options, seed: 99 })
        second.loadStateDict(JSON.parse(JSON.stringify(first.stateDict())))
        while (second.epoch < 2) got.push(...(await batchesOf(second)))
        expect(got).toEqual(want)
      }
    }
  })
})
