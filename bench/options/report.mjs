// The table of run.mjs.
import { median } from '../numbers.mjs'

/** What must be reached: our time as a share of that of the plain step, or else of that of the same option in 1.9.2. */
const GOALS = { plain: 1.6, old: 0.7 }

/** The share of the plain step for options that 1.9.2 does not have. */
const NEWER = 1.15

const TITLES = {
  readme: "In the order of the Python package's README:",
  others: 'Which that README does not show:',
  newer: `Which 1.9.2 does not have; the goal is at most ${NEWER} times the plain step:`,
}

const HEAD = ['', 'this package', 'times plain', 'twice the batch', '1.9.2', 'ratio', 'goal']

const time = (seconds) => `${(seconds * 1000).toFixed(0)} ms`

function judge({ group, results: { plain, ours, twice, old } }) {
  const [basis, own, doubled, peer] = [plain, ours, twice, old].map(
    (one) => one && median(one.seconds),
  )
  const ratio = peer && own / peer
  const goal = group === 'newer' ? NEWER : GOALS.plain
  const holds = own / basis <= goal || ratio <= GOALS.old
  return { own, peer, ratio, share: own / basis, growth: doubled / own, holds }
}

function rowOf(row) {
  const { own, peer, ratio, share, growth, holds } = judge(row)
  const cells = [
    row.name,
    time(own),
    share.toFixed(2),
    growth.toFixed(2),
    peer ? time(peer) : '-',
    ratio?.toFixed(2) ?? '-',
  ]
  return `| ${[...cells, holds ? 'holds' : 'missed'].join(' | ')} |`
}

/** Lines of Markdown for measured rows: a name, results by contender, and remarks. */
export function report(rows) {
  const count = rows.filter((row) => judge(row).holds).length
  const most = Math.max(...rows.map((row) => judge(row).growth))
  const goals = `at most ${GOALS.plain} times our plain step, or at most ${GOALS.old} of what 1.9.2 takes with the same option`
  const remarks = rows.flatMap(({ name, fails, note }) =>
    [fails, note].filter(Boolean).map((text) => `- ${name}: ${text}`),
  )
  return [
    `Train steps of the model of char_train_step, with one option each. The goal, ${goals}, holds in ${count} of ${rows.length} rows.`,
    `With twice the batch a step takes at most ${most.toFixed(2)} times as long.`,
    ...Object.keys(TITLES).flatMap((group) => tableOf(group, rows)),
    ...(remarks.length ? ['', ...remarks] : []),
  ]
}

function tableOf(group, rows) {
  const own = rows.filter((row) => row.group === group)
  if (!own.length) return []
  return [
    '',
    TITLES[group],
    '',
    `| ${HEAD.join(' | ')} |`,
    `| ${HEAD.map(() => '---').join(' | ')} |`,
    ...own.map(rowOf),
  ]
}
