// The table of run.mjs, and what stands above tables.
import { cpus } from 'node:os'
import { median } from '../numbers.mjs'
import { GOALS, MEMORY_GOALS } from './workloads.mjs'

const MEGABYTE = 1e6

const time = (seconds) =>
  seconds < 0.1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`
const memory = (bytes) => `${(bytes / MEGABYTE).toFixed(0)} MB`

export const machineNow = (rounds) => ({
  cpu: cpus()[0]?.model,
  cpus: cpus().length,
  node: process.version,
  date: new Date().toISOString().slice(0, 10),
  rounds,
})

/** What was measured where; `infos` has the `info` of each contender. */
export function heading({ cpu, cpus, node, date }, infos) {
  const versions = Object.entries(infos).map(
    ([name, { info }]) => `${name}: ${Object.entries(info).flat().join(' ')}`,
  )
  return `${cpu}, ${cpus} processors, Node ${node}, ${date}; ${versions.join('; ')}`
}

/** A ratio, with a mark where it misses its goal. */
function ratio(own, peer, goal) {
  if (peer === undefined) return ['-', '-']
  const value = own / peer
  return [value.toFixed(2), goal === null ? '-' : `${value <= goal ? '' : 'missed: '}${goal}`]
}

function row(name, own, peers, goals, show) {
  const cells = peers.flatMap((peer, i) => [
    peer === undefined ? '-' : show(peer),
    ...ratio(own, peer, goals[i]),
  ])
  return `| ${[name, show(own), ...cells].join(' | ')} |`
}

/** Lines of Markdown for results by workload and contender: `{ seconds, peak }`. */
export function table(results) {
  const head = [
    '',
    'this package',
    '1.9.2',
    'ratio',
    'goal',
    'newest, fused attention',
    'ratio',
    'goal',
  ]
  const lines = [`| ${head.join(' | ')} |`, `| ${head.map(() => '---').join(' | ')} |`]
  for (const [name, { ours, old, newest }] of Object.entries(results)) {
    const times = [ours, old, newest].map((one) => one && median(one.seconds))
    lines.push(row(name, times[0], times.slice(1), GOALS[name], time))
    if (!name.endsWith('train_step')) continue
    const peaks = [ours, old, newest].map((one) => one?.peak)
    lines.push(row(`${name}, peak memory`, peaks[0], peaks.slice(1), MEMORY_GOALS, memory))
  }
  return lines
}
