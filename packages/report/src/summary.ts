/** The last numbers of each run. */
import type { RunData } from '../../../ts/report/data.js'
import { el } from './dom.js'
import { count, duration, number } from './format.js'
import { runColour, withTheme } from './theme.js'

type Row = [title: string, value: (run: RunData) => string]

const REASONS: Record<string, string> = {
  finished: 'finished',
  data: 'end of the data',
  early_stop: 'stopped early',
  aborted: 'aborted',
}

const last = <T>(values: readonly T[]): T | undefined => values.at(-1)

/** The lowest loss of the evaluations, and its step. */
function best({ evaluations: { loss, step } }: RunData): string {
  const lowest = Math.min(...loss.filter((value) => value !== null))
  if (lowest === Infinity) return '–'
  return `${number(lowest)} at ${step[loss.indexOf(lowest)]}`
}

const ROWS: Row[] = [
  ['Steps', (run) => count(run.done?.steps ?? last(run.steps.step) ?? 0)],
  ['Train loss', (run) => number(run.done?.loss ?? last(run.steps.loss))],
  ['Eval loss', (run) => number(last(run.evaluations.loss))],
  ['Best eval loss', best],
  ['Tokens', (run) => count(last(run.steps.tokens) ?? 0)],
  ['Tokens per second', (run) => count(Math.round(last(run.steps.tokens_per_second) ?? 0))],
  ['Time', (run) => duration(run.done?.seconds ?? last(run.steps.seconds) ?? 0)],
  ['Parameters', ({ info }) => (info ? count(info.num_parameters) : '–')],
  ['Optimizer', ({ info }) => info?.optimizer.class ?? '–'],
  ['Device', ({ info }) => info?.device ?? '–'],
  ['Began', ({ started }) => (started ? new Date(started).toLocaleString() : '–')],
  ['End', ({ done }) => (done ? (REASONS[done.reason] ?? done.reason) : 'not at its end')],
]

interface Shown {
  title: string
  values: string[]
}

/** Tiles for one run, a table for several. */
export function summary(runs: readonly RunData[]): HTMLElement {
  const all = ROWS.map(([title, value]): Shown => ({ title, values: runs.map(value) }))
  const shown = all.filter(({ values }) => values.some((text) => text !== '–'))
  return runs.length === 1 ? tiles(shown) : table(runs, shown)
}

const tiles = (shown: readonly Shown[]) =>
  el(
    'dl',
    { className: 'tiles' },
    ...shown.map(({ title, values: [value] }) =>
      el('div', {}, el('dt', {}, title), el('dd', {}, value as string)),
    ),
  )

/** A column for each run. */
function table(runs: readonly RunData[], shown: readonly Shown[]): HTMLElement {
  const heads = runs.map(({ name }, i) => {
    const dot = el('i')
    withTheme(() => dot.setAttribute('style', `background:${runColour(i)}`))
    return el('th', { scope: 'col' }, dot, name)
  })
  const rows = shown.map(({ title, values }) =>
    el('tr', {}, el('th', { scope: 'row' }, title), ...values.map((text) => el('td', {}, text))),
  )
  const head = el('thead', {}, el('tr', {}, el('td'), ...heads))
  return el('div', { className: 'wide' }, el('table', {}, head, el('tbody', {}, ...rows)))
}
