// Draws a recorded terminal as an SVG: what was on the screen at the end.
//
//   script -qc 'stty cols 96; npm start' train.txt
//   node scripts/picture.mjs 'npm start' < train.txt > docs/images/train.svg
import { readFileSync } from 'node:fs'
import { screen, TEXT } from './screen.mjs'

const COLUMNS = 96
const [WIDTH, HEIGHT, SIZE] = [8.4, 19, 14]
const [LEFT, TOP] = [16, 14]

/** Neighbouring cells of one colour, without spaces at the end of a row. */
function runs(cells) {
  const found = []
  for (const [column, cell] of Array.from(cells, (c) => c ?? { text: ' ', fill: TEXT }).entries()) {
    const last = found.at(-1)
    if (last?.fill === cell.fill) last.text += cell.text
    else found.push({ column, ...cell })
  }
  return found.map((run) => ({ ...run, text: run.text.trimEnd() })).filter(({ text }) => text)
}

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', ' ': '\u00a0' }

/** As XML; spaces do not break, or several of them would be shown as one. */
const escaped = (text) => text.replaceAll(/[&<> ]/g, (character) => ESCAPES[character])

/** One row; `textLength` keeps the columns in place, whatever font there is. */
function drawn(cells, row) {
  const y = TOP + SIZE + row * HEIGHT
  return runs(cells).map(({ column, fill, text }) => {
    const indent = text.length - text.trimStart().length
    const x = (LEFT + (column + indent) * WIDTH).toFixed(1)
    const length = ((text.length - indent) * WIDTH).toFixed(1)
    const colour = fill === TEXT ? '' : ` fill="${fill}"`
    return `<text x="${x}" y="${y}" textLength="${length}"${colour}>${escaped(text.trim())}</text>`
  })
}

/** Without the lines in which `script` tells of itself, and empty ones around. */
const recorded = (text) => text.replaceAll(/^Script (started|done).*$/gm, '').trim()

const [command] = process.argv.slice(2)
const recording = `\x1b[32m$\x1b[0m ${command}\n${recorded(readFileSync(0, 'utf8'))}`
const rows = screen(recording, COLUMNS)
const [width, height] = [2 * LEFT + COLUMNS * WIDTH, 2 * TOP + rows.length * HEIGHT]
const size = `${Math.ceil(width)} ${Math.ceil(height)}`
const font = 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace'
process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size}"
  font-family="${font}" font-size="${SIZE}" fill="${TEXT}">
<title>${escaped(command)}</title>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
${rows.flatMap(drawn).join('\n')}
</svg>
`,
)
