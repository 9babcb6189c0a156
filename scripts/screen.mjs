// What a terminal shows at the end of a recording. It knows what a picture that is drawn in place
// and coloured text use, and no more: the colours of the foreground, moves to a column or by some
// lines, and clearing a line.

/** The colour of text that has none of its own. */
export const TEXT = '#c9d1d9'
/** By the number of their escape sequences. */
const COLOURS = { 31: '#ff7b72', 32: '#7ee787', 33: '#e3b341', 34: '#58a6ff' }

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const TOKEN = /\x1b\[([?\d;]*)([a-zA-Z])|\x1b.|[\r\n]|./gu

/** The screen: rows of cells `{ text, fill }`. */
export function screen(recording, columns) {
  const rows = [[]]
  let [row, column, fill] = [0, 0, TEXT]
  const to = (next) => {
    row = Math.max(next, 0)
    while (rows.length <= row) rows.push([])
  }
  const newLine = () => {
    to(row + 1)
    column = 0
  }
  const put = (text) => {
    if (column === columns) newLine()
    rows[row][column++] = { text, fill }
  }
  const obey = (numbers, kind) => {
    const number = Number(numbers)
    if (kind === 'm') fill = COLOURS[number] ?? TEXT
    if (kind === 'G') column = Math.max(number - 1, 0)
    if (kind === 'A') to(row - (number || 1))
    if (kind === 'B') to(row + (number || 1))
    // from here to the end of the line, or the whole of it
    if (kind === 'K') rows[row].length = number === 2 ? 0 : Math.min(rows[row].length, column)
  }
  for (const [token, numbers, kind] of recording.matchAll(TOKEN)) {
    if (kind) obey(numbers, kind)
    else if (token === '\n') newLine()
    else if (token === '\r') column = 0
    else if (!token.startsWith('\x1b')) put(token)
  }
  return rows
}
