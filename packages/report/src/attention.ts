/** Attention maps: all heads small, one large, whose tokens are told. */
import type { AttentionMaps, RunData } from '../../../ts/report/data.js'
import { el, section, select, type Tip } from './dom.js'
import { number } from './format.js'
import { heat } from './theme.js'

/** Largest side of a cell, and of a map, in pixels. */
const [CELL, SIDE] = [22, 640]

/** Smaller cells have no room for a label. */
const LABEL = 11

/** The bytes of a map, which stand for square roots of weights. */
const bytesOf = (text: string) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0))

/** A token as it can be seen. */
const visible = (token: string) => token.replace(/\n/g, '↵').replace(/\t/g, '⇥').replace(/ /g, '␣')

/** The section; null where no run has maps. */
export function attention(runs: readonly RunData[], tip: Tip): HTMLElement | null {
  const having = runs.filter((run) => run.attention !== null)
  if (having.length === 0) return null
  const place = el('div', { className: 'attention' })
  const show = (i: number) =>
    place.replaceChildren(...mapsOf((having[i] as RunData).attention as AttentionMaps, tip))
  show(0)
  const names = having.map(({ name }) => name)
  return section('Attention', [select('Run', names, show)], place)
}

function mapsOf(maps: AttentionMaps, tip: Tip): HTMLElement[] {
  const large = el('div', { className: 'large' })
  const buttons: HTMLElement[] = []
  const rows = maps.layers.map((heads, layer) => {
    const row = heads.map((text, head) => {
      const show = () => {
        for (const other of buttons) other.ariaPressed = String(other === button)
        large.replaceChildren(
          ...largeMap(maps, bytesOf(text), `Layer ${layer + 1}, head ${head + 1}`, tip),
        )
      }
      const title = `layer ${layer + 1}, head ${head + 1}`
      const small = el('canvas', { width: maps.keys.length, height: maps.queries.length })
      draw(small, bytesOf(text))
      const button = el(
        'button',
        { type: 'button', title, onclick: show, ariaPressed: 'false' },
        small,
      )
      buttons.push(button)
      return button
    })
    return el('div', {}, el('span', {}, `Layer ${layer + 1}`), ...row)
  })
  buttons[0]?.click()
  return [el('div', { className: 'heads' }, ...rows), large]
}

function draw(canvas: HTMLCanvasElement, bytes: Uint8Array): void {
  const context = canvas.getContext('2d') as CanvasRenderingContext2D
  const image = context.createImageData(canvas.width, canvas.height)
  for (const [i, byte] of bytes.entries()) image.data.set([...heat(byte / 255), 255], 4 * i)
  context.putImageData(image, 0, 0)
}

/** A map that tells of the weight below the pointer. */
function largeMap(maps: AttentionMaps, bytes: Uint8Array, title: string, tip: Tip): HTMLElement[] {
  const [rows, columns] = [maps.queries.length, maps.keys.length]
  const cell = Math.max(4, Math.min(CELL, Math.floor(SIDE / Math.max(rows, columns))))
  const canvas = el('canvas', { width: columns, height: rows })
  canvas.style.width = `${columns * cell}px`
  canvas.style.height = `${rows * cell}px`
  draw(canvas, bytes)
  const [left, top] = [labels(maps.queries, 'height', cell), labels(maps.keys, 'width', cell)]
  const mark = el('div', { className: 'mark', hidden: true })
  tellWeights({ canvas, mark, left, top, cell }, maps, bytes, tip)
  const map = el(
    'div',
    { className: cell >= LABEL ? 'map' : 'map bare' },
    el('div', { className: 'keys' }, ...top),
    el('div', { className: 'queries' }, ...left),
    el('div', { className: 'cells' }, canvas, mark),
  )
  return [el('h3', {}, title, ' ', el('span', { className: 'at' }, 'rows attend to columns')), map]
}

/** What stands beside rows or columns. */
const labels = (tokens: readonly string[], size: 'height' | 'width', cell: number) =>
  tokens.map((token) => el('span', { style: `${size}:${cell}px`, title: token }, visible(token)))

/** The parts of a large map. */
interface Parts {
  canvas: HTMLCanvasElement
  /** Frames the cell below the pointer. */
  mark: HTMLElement
  left: readonly HTMLElement[]
  top: readonly HTMLElement[]
  cell: number
}

function tellWeights(
  { canvas, mark, left, top, cell }: Parts,
  { queries, keys }: AttentionMaps,
  bytes: Uint8Array,
  tip: Tip,
): void {
  const unmark = () => {
    for (const label of [...left, ...top]) label.classList.remove('on')
    mark.hidden = true
    tip.hide()
  }
  canvas.onmouseleave = unmark
  canvas.onmousemove = ({ offsetX, offsetY, clientX, clientY }) => {
    unmark()
    const [row, column] = [Math.floor(offsetY / cell), Math.floor(offsetX / cell)]
    const [query, key] = [queries[row], keys[column]]
    if (query === undefined || key === undefined) return
    left[row]?.classList.add('on')
    top[column]?.classList.add('on')
    mark.hidden = false
    const box = `left:${column * cell}px;top:${row * cell}px;width:${cell}px;height:${cell}px`
    mark.setAttribute('style', box)
    const weight = ((bytes[row * keys.length + column] as number) / 255) ** 2
    const told = `“${visible(query)}” attends to “${visible(key)}”`
    const place = el('div', { className: 'place' }, told)
    tip.show(clientX, clientY, [place, el('b', {}, number(weight))])
  }
}
