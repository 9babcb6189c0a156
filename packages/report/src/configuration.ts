/** How each run was configured: its model as code, and its options. */
import type { RunData } from '../../../ts/report/data.js'
import { choice, el, section, select } from './dom.js'

type View = 'TypeScript' | 'Python' | 'options'

/** The options apart from the model, which the code has. */
function optionsOf({ info }: RunData): string {
  const { model: _, ...options } = (info ?? {}) as Record<string, unknown>
  return JSON.stringify(options, null, 2)
}

/** The section; null where no run tells. */
export function configuration(runs: readonly RunData[]): HTMLElement | null {
  const having = runs.filter(({ code }) => code !== null)
  if (having.length === 0) return null
  let [run, view]: [RunData, View] = [having[0] as RunData, 'TypeScript']
  const code = el('code')
  const text = () => {
    if (view === 'options') return optionsOf(run)
    return (view === 'Python' ? run.code?.python : run.code?.typescript) ?? ''
  }
  const draw = () => {
    code.textContent = text().trimEnd()
  }
  draw()
  const copy = el('button', { type: 'button' }, 'Copy')
  copy.onclick = async () => {
    // a file that was opened from a disk may not be allowed to
    const done = await navigator.clipboard?.writeText(text()).then(
      () => true,
      () => false,
    )
    copy.textContent = done ? 'Copied' : 'Select the text to copy it'
  }
  const views = choice<View>('View', ['TypeScript', 'Python', 'options'], view, (name) => {
    view = name
    draw()
  })
  const names = having.map(({ name }) => name)
  const chooser = select('Run', names, (i) => {
    run = having[i] as RunData
    draw()
  })
  return section('Configuration', [chooser, views, copy], el('pre', { className: 'code' }, code))
}
