// This build beside another one of this project: `run.mjs --base FOLDER`. Both take turns, so that a
// machine that is slow for a while is slow for both; each turn gives one ratio.
import { join } from 'node:path'
import { root, say } from '../../scripts/lib.mjs'
import { start } from '../contender.mjs'
import { median } from '../numbers.mjs'

/** Fewer ratios say little about their mean. */
export const LEAST_ROUNDS = 10
/** From here on a build counts as slower. */
const SLOWER = 1.02

/** Quantiles 0.975 of Student's t distribution for 9 to 29 degrees of freedom, then the normal one. */
const T = [
  2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074,
  2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045,
]

/** The geometric mean of ratios, with its interval of 95 % confidence. */
export function interval(ratios) {
  const logs = ratios.map(Math.log)
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length
  const variance = logs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (logs.length - 1)
  const half = (T[logs.length - LEAST_ROUNDS] ?? 1.96) * Math.sqrt(variance / logs.length)
  return { mean: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half) }
}

const contender = (folder, name, threads) =>
  start(process.execPath, [
    join(folder, 'bench/compare/ours.mjs'),
    name,
    ...(threads ? [`${threads}`] : []),
  ])

/** Ratios of this build's time to the base's, one for each round. */
async function ratiosOf(name, base, { warm_up, runs }, { rounds, threads }) {
  const pair = []
  try {
    for (const folder of [root, base]) pair.push(await contender(folder, name, threads))
    for (const { ask } of pair) await ask(warm_up)
    const ratios = []
    for (let round = 0; round < rounds; round++) {
      const times = []
      // whoever is second finds another state of the caches: each is it every other time
      for (const i of round % 2 ? [1, 0] : [0, 1])
        times[i] = median((await pair[i].ask(runs)).seconds)
      ratios.push(times[0] / times[1])
    }
    return ratios
  } finally {
    for (const { close } of pair) close()
  }
}

/** Measures every workload; gives the names of those that this build is slower at. */
export async function compareWithBase(base, names, turns, settings) {
  const slower = []
  for (const name of names) {
    const { mean, low, high } = interval(await ratiosOf(name, base, turns(name), settings))
    const verdict = low > SLOWER ? 'slower' : ''
    if (verdict) slower.push(name)
    say(
      `${name.padEnd(20)} ${mean.toFixed(3)}  (${low.toFixed(3)} to ${high.toFixed(3)})  ${verdict}`,
    )
  }
  return slower
}
