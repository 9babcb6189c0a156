// Runs the parts of a check one after the other, and prints plain counts at the end.
import { stripVTControlCharacters } from 'node:util'
import { Failure, run, say } from './lib.mjs'
import { colours, tail } from './rust.mjs'

export const tee = (program, ...args) => run(program, args, { stdout: 'tee', env: colours })

/** A part that passes or fails as a whole. */
export const check = async (result) => {
  const { code, out } = await result
  if (code === 0) return { passed: 1, failed: 0, skipped: 0 }
  return { passed: 0, failed: 1, skipped: 0, failures: [tail(out)] }
}

/** The names of the parts whose name contains one of `wanted`; all of them without any. */
export function wantedParts(parts, wanted) {
  const all = Object.keys(parts)
  const names = all.filter((part) => !wanted.length || wanted.some((name) => part.includes(name)))
  if (!names.length) throw new Failure(`No part is named so; there is: ${all.join(', ')}.`)
  return names
}

const COLUMNS = ['passed', 'failed', 'skipped', 'seconds']

function table(rows) {
  const width = Math.max(...rows.map((row) => row.part.length))
  const line = (part, cells) =>
    `${part.padEnd(width)}${cells.map((cell) => String(cell).padStart(9)).join('')}`
  return [
    line('part', COLUMNS),
    ...rows.map((row) =>
      line(
        row.part,
        COLUMNS.map((column) => row[column]),
      ),
    ),
  ].join('\n')
}

/** A part that ends with a Failure fails, and the others go on. */
async function counts(part) {
  try {
    return await part()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return { passed: 0, failed: 1, skipped: 0, failures: [error.message] }
  }
}

/**
 * Runs the parts with these names. Each gives `{ passed, failed, skipped, failures }`; the process
 * ends with an error where one has failed.
 *
 * @param note a line above the counts
 */
export async function runParts(parts, names, note = '') {
  const rows = []
  for (const part of names) {
    say(`\n== ${part}`)
    const start = performance.now()
    const result = await counts(parts[part])
    rows.push({
      part,
      skipped: 0,
      ...result,
      seconds: ((performance.now() - start) / 1000).toFixed(1),
    })
  }
  // Said last, so that whoever keeps only the end of this output sees what failed.
  for (const { part, failures = [] } of rows)
    for (const text of failures)
      console.log(`\n== failed in ${part}\n${stripVTControlCharacters(text)}`)
  if (note) console.log(`\n${note}`)
  const sum = (column) => rows.reduce((total, row) => total + row[column], 0)
  console.log(
    `\n${table(rows)}\n\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`,
  )
  process.exitCode = sum('failed') > 0 ? 1 : 0
}
