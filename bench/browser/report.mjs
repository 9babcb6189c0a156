// What the bench prints: a table for each model and work.
import { median } from '../numbers.mjs'

/** The contenders that others are compared with, where they take part. */
const BASES = { tfjs: 'of TF.js', 'tfjs-tuned': 'of tuned', native: 'of native' }

/**
 * A row for each work and contender. `cold_ms` is the very first call, before the warm-up; `first_ms` the first one right after it, and
 * `first_to_later` its ratio to the median of those that were counted.
 */
export function summary(entries, model) {
  return ['forward', 'trainStep'].flatMap((work) => {
    const medians = Object.fromEntries(
      entries.map((entry) => [entry.name, median(entry.times[work])]),
    )
    return entries.map(({ name, title, info, times, cold, first }) => {
      const bases = Object.keys(BASES).filter((base) => medians[base])
      return {
        model,
        work,
        contender: name,
        title,
        info,
        calls: times[work].length,
        cold_ms: cold[work],
        first_ms: first[work],
        median_ms: medians[name],
        min_ms: Math.min(...times[work]),
        max_ms: Math.max(...times[work]),
        first_to_later: first[work] / medians[name],
        ratios: Object.fromEntries(bases.map((base) => [base, medians[name] / medians[base]])),
      }
    })
  })
}

const ms = (value) => (value < 100 ? value.toFixed(1) : value.toFixed(0))
const ratio = (value) => (value == null ? '' : value.toFixed(value < 10 ? 2 : 1))

const COLUMNS = [
  ['median', (row) => ms(row.median_ms)],
  ['least', (row) => ms(row.min_ms)],
  ['most', (row) => ms(row.max_ms)],
  ['cold', (row) => ms(row.cold_ms)],
  ['first', (row) => ms(row.first_ms)],
  ['1st/later', (row) => ratio(row.first_to_later)],
]

function table(rows) {
  const bases = Object.keys(BASES).filter((base) => rows.some((row) => row.ratios[base]))
  const columns = [
    ...COLUMNS,
    ...bases.map((base) => [BASES[base], (row) => ratio(row.ratios[base])]),
  ]
  const width = Math.max(...rows.map((row) => row.title.length)) + 2
  const line = (title, cells) =>
    title.padEnd(width) + cells.map((cell) => cell.padStart(10)).join('')
  const [{ model, work }] = rows
  const body = rows.map((row) =>
    line(
      row.title,
      columns.map(([, cell]) => cell(row)),
    ),
  )
  const header = line(
    'ms',
    columns.map(([head]) => head),
  )
  return [`${model}, ${work === 'forward' ? 'forward' : 'train step'}`, header, ...body].join('\n')
}

const describe = ({ target, build, threads, threads_reason }) =>
  [target, build, `threads: ${threads}`, threads_reason].filter(Boolean).join(', ')

/** The text for people. */
export function report(rows, checks) {
  const key = (row) => `${row.model} ${row.work}`
  const groups = [...new Set(rows.map(key))].map((wanted) =>
    rows.filter((row) => key(row) === wanted),
  )
  const used = new Map(rows.map(({ title, info }) => [title, `${title}: ${describe(info)}`]))
  const same = checks.map(({ model, contenders, logits, losses }) => {
    const largest = [logits, losses].map((value) => value.toExponential(1))
    return `${model}: ${contenders.join(' and ')} differ by at most ${largest[0]} in logits, ${largest[1]} in losses`
  })
  return [groups.map(table).join('\n\n'), [...used.values()].join('\n'), same.join('\n')].join(
    '\n\n',
  )
}
