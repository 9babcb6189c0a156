// The table of run.mjs.
import { median } from '../numbers.mjs'

/** What must be reached: our time as a share of that of the plain step, or else of that of the same option in 1.9.2. */
const GOALS = { plain: 1.6, old: 0.7 }

const HEAD = ['', 'this package', 'times plain', 'twice the batch', '1.9.2', 'ratio', 'goal']

const time = (seconds) => `${(seconds * 1000).toFixed(0)} ms`

function judge({ plain, ours, twice, old }) {
  const [basis, own, doubled, peer] = [plain, ours, twice, old].map(
    (one) => one && median(one.seconds),
  )
  const ratio = peer && own / peer
  const holds = own / basis <= GOALS.plain || ratio <= GOALS.old
  return { own, peer, ratio, share: own / basis, growth: doubled / own, holds }
}

function rowOf({ name, results }) {
  const { own, peer, ratio, share, growth, holds } = judge(results)
  const cells = [
    name,
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
  const count = rows.filter(({ results }) => judge(results).holds).length
  const most = Math.max(...rows.map(({ results }) => judge(results).growth))
  const goals = `at most ${GOALS.plain} times our plain step, or at most ${GOALS.old} of what 1.9.2 takes with the same option`
  const remarks = rows.flatMap(({ name, fails, note }) =>
    [fails, note].filter(Boolean).map((text) => `- ${name}: ${text}`),
  )
  return [
    `Train steps of the model of char_train_step, with one option each. The goal, ${goals}, holds in ${count} of ${rows.length} rows.`,
    `With twice the batch a step takes at most ${most.toFixed(2)} times as long.`,
    ...['readme', 'others'].flatMap((group) => tableOf(group, rows)),
    ...(remarks.length ? ['', ...remarks] : []),
  ]
}

function tableOf(group, rows) {
  const own = rows.filter((row) => row.group === group)
  if (!own.length) return []
  const title =
    group === 'readme'
      ? "In the order of the Python package's README:"
      : 'Which that README does not show:'
  return [
    '',
    title,
    '',
    `| ${HEAD.join(' | ')} |`,
    `| ${HEAD.map(() => '---').join(' | ')} |`,
    ...own.map(rowOf),
  ]
}
