/** The page of a report: draws the data that stands in it. */
import 'uplot/dist/uPlot.min.css'
import './page.css'
import './parts.css'
import type { ReportData } from '../../../ts/report/data.js'
import { attention } from './attention.js'
import { configuration } from './configuration.js'
import { el, section, Tip } from './dom.js'
import { norms } from './norms.js'
import { Board } from './runs.js'
import { samples } from './samples.js'
import { summary } from './summary.js'
import { startTheme, toggleTheme } from './theme.js'

function draw({ title, runs }: ReportData): void {
  startTheme()
  const tip = new Tip()
  const board = new Board(runs, tip)
  const toggle = el('button', { type: 'button', onclick: toggleTheme }, 'Light or dark')
  const head = el('header', { className: 'page' }, el('h1', {}, title), toggle)
  const small = el(
    'div',
    { className: 'charts' },
    board.column('Learning rate', 'lr', false),
    board.column('Gradient norm', 'grad_norm', true),
    board.column('Tokens per second', 'tokens_per_second', false),
    board.column('Time in seconds', 'seconds', false),
  )
  const hint = el('p', { className: 'hint' }, 'Drag to zoom in, click twice to zoom out.')
  const parts = [
    section('Summary', [], summary(runs)),
    section('Curves', [], board.controls(), board.loss(), small, hint),
    norms(runs, 'grad_norms', board, tip),
    norms(runs, 'activation_norms', board, tip),
    samples(runs),
    attention(runs, tip),
    configuration(runs),
  ].filter((part) => part !== null)
  const links = parts.map(({ id, firstElementChild: header }) =>
    el('a', { href: `#${id}` }, header?.firstElementChild?.textContent ?? ''),
  )
  document.getElementById('report')?.append(head, el('nav', {}, ...links), ...parts)
}

draw(JSON.parse(document.getElementById('data')?.textContent ?? '{}') as ReportData)
