/** The runs of a report as curves, and what all charts are told alike. */
import type { RunData, StepColumns } from '../../../ts/report/data.js'
import { Chart, type ChartSettings, type Line, type Zoom } from './chart.js'
import { choice, el, slider, type Tip } from './dom.js'
import { count, duration } from './format.js'
import { type Points, smoothed, type Values, valueAt } from './series.js'
import { faint, runColour, withTheme } from './theme.js'

/** What x is. */
type Axis = 'steps' | 'time' | 'tokens'

const COLUMNS: Record<Axis, keyof StepColumns> = {
  steps: 'step',
  time: 'seconds',
  tokens: 'tokens',
}

/** The charts of all runs, which are zoomed and smoothed together. */
export class Board {
  readonly #runs: readonly RunData[]
  readonly #tip: Tip
  readonly #charts: Chart[] = []
  readonly #hidden = new Set<number>()
  #axis: Axis = 'steps'
  #smoothing = 0.6

  constructor(runs: readonly RunData[], tip: Tip) {
    this.#runs = runs
    this.#tip = tip
  }

  /** What charts are told alike: axis, smoothing, which runs are shown. */
  controls(): HTMLElement {
    const axis = choice<Axis>(
      'Horizontal axis',
      ['steps', 'time', 'tokens'],
      this.#axis,
      (name) => {
        this.#axis = name
        for (const chart of this.#charts) chart.zoom(null)
      },
    )
    const range = { min: 0, max: 0.99, step: 0.01, value: this.#smoothing }
    const smooth = slider(
      'Smoothing',
      range,
      (value) => value.toFixed(2),
      (value) => {
        this.#smoothing = value
        this.redraw()
      },
    )
    const reset = el('button', { type: 'button', onclick: () => this.#zoom(null) }, 'Reset zoom')
    const chips = this.#runs.map((run, i) => this.#chip(run, i))
    return el(
      'div',
      { className: 'controls' },
      el('div', { className: 'chips' }, ...chips),
      axis,
      smooth,
      reset,
    )
  }

  /** Shows a run, or hides it. */
  #chip({ name }: RunData, i: number): HTMLElement {
    const dot = el('i')
    withTheme(() => dot.setAttribute('style', `background:${runColour(i)}`))
    const onclick = () => {
      if (!this.#hidden.delete(i)) this.#hidden.add(i)
      chip.ariaPressed = String(!this.#hidden.has(i))
      this.redraw()
    }
    const chip = el(
      'button',
      { type: 'button', className: 'chip', ariaPressed: 'true', onclick },
      dot,
      name,
    )
    return chip
  }

  /** After data of own curves has changed. */
  redraw(): void {
    for (const chart of this.#charts) chart.draw()
  }

  #zoom(zoom: Zoom): void {
    for (const chart of this.#charts) chart.zoom(zoom)
  }

  #add(settings: Pick<ChartSettings, 'title' | 'lines' | 'height' | 'log' | 'named'>): HTMLElement {
    const place = (x: number) => {
      if (this.#axis === 'time') return duration(x)
      return this.#axis === 'tokens' ? `${count(x)} tokens` : `step ${x}`
    }
    const told = { ...settings, place, axis: () => this.#axis }
    const chart = new Chart(told, this.#tip, (zoom) => {
      for (const other of this.#charts) if (other !== chart) other.zoom(zoom)
    })
    this.#charts.push(chart)
    return chart.element
  }

  /** The x of steps. */
  #x = (run: RunData): number[] => run.steps[COLUMNS[this.#axis]] as number[]

  /** The points of what happened at some steps, such as evaluations. */
  points(run: RunData, steps: readonly number[], y: Values): Points {
    if (this.#axis === 'steps') return { x: steps, y }
    const times = { x: run.steps.step, y: this.#x(run) }
    return { x: steps.map((step) => valueAt(times, step) ?? 0), y }
  }

  #shown(): [run: RunData, colour: string][] {
    const all = this.#runs.map((run, i): [RunData, string] => [run, runColour(i)])
    return all.filter((_, i) => !this.#hidden.has(i))
  }

  /** The loss of steps, raw and smoothed, and that of evaluations. */
  loss(): HTMLElement {
    const lines = () => [
      ...this.#shown().flatMap(([run, colour]) =>
        this.#curve(run, colour, 'loss', `${run.name}, train`),
      ),
      ...this.#shown().map(([run, colour]): Line => {
        const { step, loss } = run.evaluations
        const points = this.points(run, step, loss)
        return { label: `${run.name}, eval`, colour, points, dashed: true, marked: true }
      }),
    ]
    return this.#add({ title: 'Loss', lines, height: 340 })
  }

  /** A column of steps; `smooth`: with its running average. */
  column(title: string, name: keyof StepColumns, smooth: boolean): HTMLElement {
    const lines = () =>
      this.#shown().flatMap(([run, colour]) =>
        smooth
          ? this.#curve(run, colour, name, run.name)
          : [{ label: run.name, colour, points: { x: this.#x(run), y: run.steps[name] } }],
      )
    return this.#add({ title, lines })
  }

  /** Curves that are made of one run, such as of its layers. */
  own(title: string, lines: () => Line[], log = false): HTMLElement {
    return this.#add({ title, lines, log, height: 300, named: true })
  }

  #curve(run: RunData, colour: string, name: keyof StepColumns, label: string): Line[] {
    const [x, values] = [this.#x(run), run.steps[name] as Values]
    // steps where it was not measured
    if (values.every((value) => value === null)) return []
    const line = { label, colour, points: { x, y: smoothed(values, this.#smoothing) } }
    if (this.#smoothing === 0) return [line]
    const raw = { ...line, colour: faint(colour, 0.35), points: { x, y: values }, width: 1 }
    return [{ ...raw, quiet: true }, line]
  }
}
