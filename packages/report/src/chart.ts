/** Curves over steps, time or tokens. */
import uPlot from 'uplot'
import { choice, el, type Tip } from './dom.js'
import { number } from './format.js'
import { aligned, type Points, valueAt } from './series.js'
import { colour, withTheme } from './theme.js'

/** A curve of a chart. */
export interface Line {
  label: string
  colour: string
  points: Points
  width?: number
  dashed?: boolean
  /** Whether its points are marked. */
  marked?: boolean
  /** Whether it is a background, of which the pointer tells nothing. */
  quiet?: boolean
}

export interface ChartSettings {
  title: string
  lines: () => Line[]
  /** How x is told: `step 250`. */
  place: (x: number) => string
  /** Below the axis of x. */
  axis: () => string
  height?: number
  log?: boolean
  /** Whether the curves are named below. */
  named?: boolean
}

/** Part of x that is shown; null: all of it. */
export type Zoom = { min: number; max: number } | null

const HEIGHT = 240

export class Chart {
  readonly element: HTMLElement
  readonly #settings: ChartSettings
  readonly #zoomed: (zoom: Zoom) => void
  readonly #place = el('div', { className: 'plot' })
  readonly #names = el('figcaption')
  readonly #tip: Tip
  #plot: uPlot | null = null
  #lines: Line[] = []
  #zoom: Zoom = null
  #log: boolean
  #over = false

  /** @param zoomed hears of a part that was chosen, for other charts */
  constructor(settings: ChartSettings, tip: Tip, zoomed: (zoom: Zoom) => void = () => {}) {
    this.#settings = settings
    this.#tip = tip
    this.#zoomed = zoomed
    this.#log = settings.log ?? false
    const scale = choice('Scale', ['linear', 'log'], this.#log ? 'log' : 'linear', (name) => {
      this.#log = name === 'log'
      this.draw()
    })
    const head = el('header', {}, el('h3', {}, settings.title), scale)
    this.element = el('figure', { className: 'chart' }, head, this.#place, this.#names)
    new ResizeObserver(() => this.#resize()).observe(this.#place)
    withTheme(() => this.draw())
  }

  /** Shows a part of x. */
  zoom(zoom: Zoom): void {
    this.#zoom = zoom
    this.draw()
  }

  draw(): void {
    const { clientWidth: width } = this.#place
    this.#plot?.destroy()
    this.#plot = null
    this.#lines = this.#settings.lines().filter(({ points }) => points.x.length > 0)
    if (this.#settings.named) this.#names.replaceChildren(...this.#lines.map(nameOf))
    if (this.#lines.length === 0) {
      this.#place.replaceChildren(el('p', { className: 'none' }, 'Nothing was recorded.'))
      return
    }
    this.#place.replaceChildren()
    // a place without a width is not shown yet: it is drawn when it is
    if (width > 0) this.#plot = new uPlot(this.#options(width), this.#data(), this.#place)
  }

  #resize(): void {
    const { clientWidth: width } = this.#place
    if (this.#plot === null) this.draw()
    else if (this.#plot.width !== width)
      this.#plot.setSize({ width, height: this.#settings.height ?? HEIGHT })
  }

  #data(): uPlot.AlignedData {
    const shown = ({ x, y }: Points): Points => ({
      x,
      // a logarithm has no place for them
      y: this.#log ? y.map((value) => (value !== null && value > 0 ? value : null)) : y,
    })
    return aligned(this.#lines.map(({ points }) => shown(points)))
  }

  #options(width: number): uPlot.Options {
    const [text, grid] = [colour('muted'), colour('grid')]
    const axis = {
      stroke: text,
      font: '11px system-ui, sans-serif',
      grid: { stroke: grid, width: 1 },
      ticks: { stroke: grid, width: 1, size: 4 },
    }
    const values = (_: uPlot, splits: (number | null)[]) =>
      splits.map((value) => (value === null ? '' : number(value)))
    return {
      width,
      height: this.#settings.height ?? HEIGHT,
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false }, y: false, points: { size: 7 } },
      scales: {
        x: { time: false, ...(this.#zoom && { range: [this.#zoom.min, this.#zoom.max] }) },
        y: { distr: this.#log ? 3 : 1 },
      },
      axes: [
        { ...axis, values, size: 26, label: this.#settings.axis(), ...LABEL },
        { ...axis, values, size: 58 },
      ],
      series: [{}, ...this.#lines.map((line) => seriesOf(line))],
      hooks: {
        setSelect: [(plot) => this.#choose(plot)],
        setCursor: [(plot) => this.#tell(plot)],
        ready: [(plot) => this.#listen(plot)],
      },
    }
  }

  #listen({ over }: uPlot): void {
    over.addEventListener('mouseenter', () => {
      this.#over = true
    })
    over.addEventListener('mouseleave', () => {
      this.#over = false
      this.#tip.hide()
    })
    over.addEventListener('dblclick', () => this.#show(null))
  }

  /** A part was marked with the pointer. */
  #choose(plot: uPlot): void {
    const { left, width } = plot.select
    if (width < 4) return
    const zoom = { min: plot.posToVal(left, 'x'), max: plot.posToVal(left + width, 'x') }
    // once the plot has dealt with the pointer: it is replaced
    setTimeout(() => this.#show(zoom))
  }

  #show(zoom: Zoom): void {
    this.#tip.hide()
    this.zoom(zoom)
    this.#zoomed(zoom)
  }

  #tell(plot: uPlot): void {
    const { left, idx } = plot.cursor
    if (!this.#over || left === undefined || left < 0 || idx === null || idx === undefined) return
    const x = plot.data[0][idx] as number
    const told = this.#lines.filter(({ quiet }) => !quiet)
    const lines = told.map((line) =>
      el('div', {}, markOf(line), `${line.label} `, el('b', {}, number(valueAt(line.points, x)))),
    )
    const { left: from, top } = plot.over.getBoundingClientRect()
    const head = el('div', { className: 'place' }, this.#settings.place(x))
    this.#tip.show(from + left, top + (plot.cursor.top ?? 0), [head, ...lines])
  }
}

const LABEL = { labelSize: 16, labelGap: 0, labelFont: '11px system-ui, sans-serif' }

/** A mark of a curve: dashed as it is. */
const markOf = ({ colour, dashed }: Line) =>
  el('i', { className: dashed ? 'dashed' : '', style: `color:${colour}` })

const nameOf = (line: Line) => el('span', {}, markOf(line), line.label)

function seriesOf({ label, colour: stroke, width = 1.75, dashed, marked }: Line): uPlot.Series {
  return {
    label,
    stroke,
    width,
    ...(dashed && { dash: [6, 4] }),
    points: { show: marked ?? false, size: 6, fill: stroke },
  }
}
