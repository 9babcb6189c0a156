// Draws a recorded terminal as an SVG: what was on the screen at the end.
//
//   script -qc 'stty cols 96; npm start' train.txt
//   node scripts/picture.mjs 'npm start' < train.txt > docs/images/train.svg
//
// It knows what progress bars and coloured text use, and no more: the colours of the foreground,
// the return to a column, and clearing to the end of a line.
import { readFileSync } from 'node:fs'

const COLUMNS = 96
const [WIDTH, HEIGHT, SIZE] = [8.4, 19, 14]
const [LEFT, TOP] = [16, 14]

const TEXT = '#c9d1d9'
/** By the number of their escape sequences. */
const COLOURS = { 31: '#ff7b72', 32: '#7ee787', 33: '#e3b341', 34: '#58a6ff' }

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const TOKEN = /\x1b\[([?\d;]*)([a-zA-Z])|\x1b.|[\r\n]|./gu

/** The screen: rows of cells `{ text, fill }`. */
function screen(recording) {
  const rows = [[]]
  let [column, fill] = [0, TEXT]
  const line = () => rows[rows.length - 1]
  const put = (text) => {
    if (column === COLUMNS) newLine()
    line()[column++] = { text, fill }
  }
  const newLine = () => {
    rows.push([])
    column = 0
  }
  const obey = (numbers, kind) => {
    if (kind === 'm') fill = COLOURS[Number(numbers)] ?? TEXT
    if (kind === 'G') column = Math.max(Number(numbers) - 1, 0)
    if (kind === 'K') line().length = Math.min(line().length, column)
  }
  for (const [token, numbers, kind] of recording.matchAll(TOKEN)) {
    if (kind) obey(numbers, kind)
    else if (token === '\n') newLine()
    else if (token === '\r') column = 0
    else if (!token.startsWith('\x1b')) put(token)
  }
  return rows
}

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
const rows = screen(`\x1b[32m$\x1b[0m ${command}\n${recorded(readFileSync(0, 'utf8'))}`)
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
