// Imaginary measurements, one for each hour: a cycle whose length differs from series to series,
// its first overtone, and weather, which is noise that lasts for some hours.
import { rand, randn } from 'x-transformers'

/** How much of the weather stays for the next hour, and how much is added to it. */
const [LASTING, NOISE] = [0.7, 0.15]

export interface Series {
  values: number[]
  /** The length of the cycle, in hours. */
  period: number
}

/** Draws series with the generator that `manualSeed` begins. */
export function drawSeries(count: number, length: number): Series[] {
  const random = rand([count, 5]).toArray() as number[][]
  const noise = randn([count, length]).toArray() as number[][]
  return noise.map((news, i) => {
    const [a, b, c, d, e] = random[i] as [number, number, number, number, number]
    const period = Math.round(8 + 16 * a)
    let weather = 0
    const values = news.map((now, hour) => {
      weather = LASTING * weather + NOISE * now
      const turn = 2 * Math.PI * (hour / period + b)
      return (0.5 + c) * Math.sin(turn) + 0.5 * d * Math.sin(2 * turn + 6.28 * e) + weather
    })
    return { values, period }
  })
}

/**
 * The mean squared error that is left for someone who knows the cycle and the weather at the start,
 * over `hours`: nobody knows the noise to come.
 */
export function unavoidable(hours: number): number {
  let [total, now] = [0, 0]
  for (let hour = 0; hour < hours; hour++) {
    now = LASTING ** 2 * now + NOISE ** 2
    total += now
  }
  return total / hours
}
