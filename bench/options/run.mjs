// What each option costs: the train step of a small decoder (char_train_step of ../compare) with one option at a time, beside this package's
// step without it, beside this package's step with twice the batch, and beside the same option in the Python package 1.9.2. They take turns, each
// in a process of its own.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { main } from '../../scripts/ensure.mjs'
import { Failure, root, say } from '../../scripts/lib.mjs'
import { pythonPath, setUp } from '../../scripts/python.mjs'
import { heading, machineNow } from '../compare/report.mjs'
import { BATCH } from '../compare/workloads.mjs'
import { compete } from '../contender.mjs'
import { whole } from '../numbers.mjs'
import { report } from './report.mjs'

const HELP = `npm run bench:options -- [--only TEXT,...] [--rounds N] [--out FILE] [--without-python]

  --only            the rows whose name has one of these texts in it, or that are of this group
  --rounds          how many steps of each are timed (3); medians are reported
  --out             where the table goes (bench/results/DATE-options.md); all times go beside it, as JSON
  --without-python  this package alone: rows must then hold against its plain step

The first run with Python installs PyTorch into the cache, which takes some 5 GB. Takes some 15 minutes, in which nothing else should run:
other work slows PyTorch far more than this package, so that ratios look better than they are.
`

/** A first step, which allocates, goes unmeasured; then contenders alternate with each step. */
const TURNS = { warm_up: 1, runs: 1 }

const script = (name) => join(root, 'bench/options', name)

const shown = ([name, value]) => (value === true ? name : `${name} = ${value}`)

/** Rows with names: those of their options, unless one is given. */
function allRows() {
  const groups = Object.entries(JSON.parse(readFileSync(script('rows.json'), 'utf8')))
  return groups.flatMap(([group, rows]) =>
    rows.map((row) => {
      const options = { ...row.wrapper, ...row.layers, ...row.autoregressive }
      return { name: Object.entries(options).map(shown).join(', '), group, ...row }
    }),
  )
}

function settings() {
  const text = { type: 'string' }
  const flag = { type: 'boolean' }
  const options = { help: flag, only: text, rounds: text, out: text, 'without-python': flag }
  const { values } = parseArgs({ options })
  const parts = values.only?.split(',') ?? ['']
  const wanted = ({ name, group }) => parts.some((part) => name.includes(part) || group === part)
  const rows = allRows().filter(wanted)
  if (!rows.length) throw new Failure(`--only: no row has a name with ${values.only}.`)
  return {
    help: values.help,
    rows,
    rounds: whole('rounds', values) ?? 3,
    out: values.out,
    python: !values['without-python'],
  }
}

function contenders(row, python) {
  const ours = (of) => [process.execPath, [script('ours.mjs'), JSON.stringify(of)]]
  const all = [
    ['plain', ours({})],
    ['ours', ours(row)],
    ['twice', ours({ ...row, batch: 2 * BATCH })],
  ]
  // -B: importing would leave files beside the source
  if (python && !row.fails && row.group !== 'newer')
    all.push([
      'old',
      [pythonPath(), ['-B', '-W', 'ignore', script('options.py'), JSON.stringify(row)]],
    ])
  return all
}

function write(out, rows, rounds) {
  const machine = machineNow(rounds)
  const { ours, old } = (rows.find(({ results }) => results.old) ?? rows[0]).results
  const lines = [heading(machine, old ? { ours, old } : { ours }), '', ...report(rows)]
  console.log(lines.join('\n'))
  const file = resolve(out ?? join(root, 'bench/results', `${machine.date}-options.md`))
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${lines.join('\n')}\n`)
  const results = Object.fromEntries(rows.map(({ name, results }) => [name, results]))
  writeFileSync(
    `${file.replace(/\.md$/, '')}.json`,
    `${JSON.stringify({ ...machine, results }, null, 1)}\n`,
  )
}

async function bench() {
  const { help, rows, rounds, out, python } = settings()
  if (help) return void process.stdout.write(HELP)
  if (!existsSync(join(root, 'dist/cjs/index.js')))
    throw new Failure('There is nothing to measure: npm run build first.')
  if (python && !pythonPath()) await setUp()
  const measured = []
  for (const row of rows) {
    say(row.name)
    measured.push({ ...row, results: await compete(contenders(row, python), TURNS, rounds) })
  }
  write(out, measured, rounds)
}

await main(bench)
