/** What the runs wrote at some steps. */
import type { RunData } from '../../../ts/report/data.js'
import { el, section, slider } from './dom.js'
import { runColour, withTheme } from './theme.js'

/** The section; null where no run has any. */
export function samples(runs: readonly RunData[]): HTMLElement | null {
  const having = runs.flatMap((run, i) => (run.samples.length > 0 ? [{ run, i }] : []))
  const steps = [...new Set(having.flatMap(({ run }) => run.samples.map(({ step }) => step)))]
  if (steps.length === 0) return null
  steps.sort((a, b) => a - b)
  const cards = having.map(({ run, i }) => {
    const [dot, at, text] = [el('i'), el('span', { className: 'at' }), el('pre')]
    withTheme(() => dot.setAttribute('style', `background:${runColour(i)}`))
    const show = (step: number) => {
      const sample = run.samples.filter((one) => one.step <= step).at(-1)
      at.textContent = sample ? `step ${sample.step}` : 'none yet'
      text.textContent = sample?.text ?? ''
    }
    const element = el('article', {}, el('h3', {}, dot, run.name, ' ', at), text)
    return { element, show }
  })
  const show = (index: number) => {
    for (const card of cards) card.show(steps[index] as number)
  }
  const last = steps.length - 1
  const range = { min: 0, max: last, step: 1, value: last }
  const chooser = slider('Step', range, (index) => String(steps[index]), show)
  show(last)
  const list = el('div', { className: 'samples' }, ...cards.map(({ element }) => element))
  return section('Samples', [chooser], list)
}
