/** What each option does, as the documentation of the package says it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../root.js'

export interface OptionDoc {
  name: string
  type: string
  default: string
  text: string
}

const ROW = /^\| `\w+`/
/** A row that stands for others: which, of which class. */
const SAME = /^As `(\w+)` to `(\w+)` of (.+?)\.$/

const plain = (cell: string) =>
  cell
    .replace(/\[Paper\]\(([^)]*)\)/g, '$1')
    .replaceAll('`', '')
    .replaceAll('\\|', '|')
    .trim()

/** Columns are separated by bars that are not escaped. */
const cellsOf = (line: string) =>
  line
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim())

/** The sets of options by the classes and calls that they are for, as in docs/options.md. */
export function readOptionDocs(): Map<string, OptionDoc[]> {
  const text = readFileSync(join(packageRoot(), 'docs/options.md'), 'utf8')
  const sets = new Map<string, OptionDoc[]>()
  let own: OptionDoc[] = []
  for (const line of text.split('\n')) {
    const title = line.match(/^<summary><b>(.*)<\/b><\/summary>$/)?.[1]
    if (title) {
      own = []
      for (const name of title.split(', ')) sets.set(name, own)
      continue
    }
    if (ROW.test(line)) own.push(...rowsOf(cellsOf(line), sets))
  }
  return sets
}

function rowsOf(cells: string[], sets: Map<string, OptionDoc[]>): OptionDoc[] {
  const [name = '', type = '', value = '', text = ''] = cells
  const [, first, last, of] = text.match(SAME) ?? []
  if (!first || !last || !of)
    return [{ name: plain(name), type: plain(type), default: plain(value), text: plain(text) }]
  const all = sets.get(of.split(', ')[0] as string) ?? []
  const [from, to] = [first, last].map((wanted) => all.findIndex((row) => row.name === wanted))
  const rows = all.slice(from, (to as number) + 1)
  const own = plain(name).split(' ')[0] as string
  return rows.map((row) => ({ ...row, name: renamed(row.name, first, own) }))
}

/** A name as another class has it: with a prefix more, or one less. */
const renamed = (name: string, first: string, own: string): string =>
  own.length < first.length
    ? name.slice(first.length - own.length)
    : own.slice(0, own.length - first.length) + name
