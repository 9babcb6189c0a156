/** Norms by layer: curves, and a heat map of layers over steps. */
import type { LayerNorms, RunData } from '../../../ts/report/data.js'
import type { Line } from './chart.js'
import { choice, el, section, select, type Tip } from './dom.js'
import { number } from './format.js'
import type { Board } from './runs.js'
import { heat, runColour, withTheme } from './theme.js'

/** A row of the heat map, in pixels. */
const ROW = 18

/** Those of the heat map, from low to high. */
const COLOURS = [0, 0.25, 0.5, 0.75, 1].map((share) => `rgb(${heat(share)})`).join(',')

type Kind = 'grad_norms' | 'activation_norms'

/** What the names of all layers begin with tells nothing. */
function shortNames(layers: readonly string[]): string[] {
  const parts = layers.map((layer) => layer.split('.'))
  const [first] = parts
  let common = 0
  while (
    parts.length > 1 &&
    parts.every((of) => of.length > common + 1 && of[common] === first?.[common])
  )
    common++
  return parts.map((of) => of.slice(common).join('.'))
}

/** The section; null where no run has any. */
export function norms(runs: readonly RunData[], kind: Kind, board: Board, tip: Tip) {
  const having = runs.filter((run) => run[kind] !== null)
  let run = having[0]
  if (run === undefined) return null
  const chart = board.own('By layer', () => linesOf(run as RunData, kind, board), true)
  const map = el('div', { className: 'heat', hidden: true })
  const draw = () => {
    map.replaceChildren(...heatMap((run as RunData)[kind] as LayerNorms, tip))
    board.redraw()
  }
  withTheme(draw)
  const view = choice('View', ['curves', 'heat map'], 'curves', (name) => {
    chart.hidden = name !== 'curves'
    map.hidden = name === 'curves'
    draw()
  })
  const names = having.map(({ name }) => name)
  const chooser = select('Run', names, (i) => {
    run = having[i]
    draw()
  })
  const title = kind === 'grad_norms' ? 'Gradient norms' : 'Activation norms'
  return section(title, [chooser, view], chart, map)
}

function linesOf(run: RunData, kind: Kind, board: Board): Line[] {
  const { layers, step, values } = run[kind] as LayerNorms
  const names = shortNames(layers)
  return values.map((of, i) => ({
    label: names[i] as string,
    colour: runColour(i),
    points: board.points(run, step, of),
    // colours come again
    dashed: Math.floor(i / 8) % 2 === 1,
    width: 1.5,
  }))
}

/** Least and greatest logarithm of the values. */
function bounds(values: LayerNorms['values']): [low: number, high: number] {
  let [low, high] = [Infinity, -Infinity]
  for (const value of values.flat()) {
    if (value === null || value <= 0) continue
    low = Math.min(low, Math.log10(value))
    high = Math.max(high, Math.log10(value))
  }
  return low < high ? [low, high] : [low - 1, low + 1]
}

function heatMap(norms: LayerNorms, tip: Tip): HTMLElement[] {
  const { layers, step } = norms
  const canvas = el('canvas', { width: step.length, height: layers.length })
  canvas.style.height = `${layers.length * ROW}px`
  const [low, high] = bounds(norms.values)
  draw(canvas, norms.values, [low, high])
  const names = shortNames(layers)
  tellNorms(canvas, norms, names, tip)
  const labels = names.map((name) => el('span', { style: `height:${ROW}px`, title: name }, name))
  const range = el(
    'p',
    { className: 'range' },
    `step ${step[0]} to ${step.at(-1)}, ${number(10 ** low)} `,
    el('span', { className: 'scale', style: `background:linear-gradient(to right,${COLOURS})` }),
    ` ${number(10 ** high)}`,
  )
  const grid = el(
    'div',
    { className: 'grid' },
    el('div', { className: 'labels' }, ...labels),
    canvas,
  )
  return [grid, range]
}

/** Draws values as colours, by their logarithms between these bounds. */
function draw(
  canvas: HTMLCanvasElement,
  values: LayerNorms['values'],
  [low, high]: readonly [low: number, high: number],
): void {
  const context = canvas.getContext('2d') as CanvasRenderingContext2D
  const image = context.createImageData(canvas.width, canvas.height)
  for (const [row, of] of values.entries()) {
    for (const [column, value] of of.entries()) {
      if (value === null || value <= 0) continue
      const share = (Math.log10(value) - low) / (high - low)
      image.data.set([...heat(share), 255], 4 * (row * canvas.width + column))
    }
  }
  context.putImageData(image, 0, 0)
}

/** Tells the norm below the pointer. */
function tellNorms(
  canvas: HTMLCanvasElement,
  { step, values }: LayerNorms,
  names: readonly string[],
  tip: Tip,
): void {
  const place = (offset: number, size: number, count: number) =>
    Math.min(count - 1, Math.floor((offset / size) * count))
  canvas.onmousemove = ({ offsetX, offsetY, clientX, clientY }) => {
    const column = place(offsetX, canvas.clientWidth, step.length)
    const row = place(offsetY, canvas.clientHeight, names.length)
    if (column < 0 || row < 0) return
    const told = el('div', { className: 'place' }, `${names[row]}, step ${step[column]}`)
    tip.show(clientX, clientY, [told, el('b', {}, number(values[row]?.[column]))])
  }
  canvas.onmouseleave = () => tip.hide()
}
