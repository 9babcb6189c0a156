// This package beside the Python package x-transformers, on the CPU: 1.9.2, and the newest version with fused attention and kept keys and
// values. Contenders take turns at each workload, each in a process of its own; medians and peaks of memory are compared.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { main } from '../../scripts/ensure.mjs'
import { Failure, root, say } from '../../scripts/lib.mjs'
import { newestPath, pythonPath, setUp } from '../../scripts/python.mjs'
import { compete, wholeLife } from '../contender.mjs'
import { whole } from '../numbers.mjs'
import { compareWithBase, LEAST_ROUNDS } from './base.mjs'
import { heading, machineNow, table } from './report.mjs'
import { NAMES, turns } from './workloads.mjs'

const HELP = `npm run bench:compare -- [--only NAME,NAME] [--rounds N] [--threads N] [--contenders ours,old,newest] [--out FOLDER]
npm run bench:compare -- --base FOLDER [--only NAME,NAME] [--rounds N] [--threads N]

  --only        which workloads: ${NAMES.join(', ')}, start
  --rounds      how many turns each contender has (3); the medians over all runs are reported
  --threads     how many threads compute, in each contender (as many as there are processors)
  --contenders  this package, Python's 1.9.2 and its newest version; without Python, nothing is installed
  --out         where the results go (bench/results)
  --base        another checkout of this project, built: the ratio of this build's time to that one's, over
                at least 10 rounds; fails where the interval of 95 % confidence lies above 1.02

The first run installs PyTorch into the cache, which takes some 5 GB. Takes some 15 minutes.
`

const START = 'start'
const PEERS = ['old', 'newest']
/** The newest version refuses this bias with fused attention. */
const REFUSED = { newest: ['t5bias_forward'] }

function settings() {
  const text = { type: 'string' }
  const options = {
    help: { type: 'boolean' },
    only: text,
    rounds: text,
    threads: text,
    contenders: text,
    out: text,
    base: text,
  }
  const { values } = parseArgs({ options })
  const pick = (given, known, what) => {
    const names = given?.split(',') ?? known
    const unknown = names.find((name) => !known.includes(name))
    if (unknown) throw new Failure(`There is no ${what} ${unknown}; there is: ${known.join(', ')}.`)
    return names
  }
  const contenders = pick(values.contenders, ['ours', ...PEERS], 'contender')
  if (!contenders.includes('ours'))
    throw new Failure('--contenders: without `ours` there is nothing to compare.')
  return {
    help: values.help,
    names: pick(values.only, [...NAMES, START], 'workload'),
    contenders,
    rounds: whole('rounds', values) ?? 3,
    threads: whole('threads', values),
    out: values.out ?? join(root, 'bench/results'),
    base: values.base && resolve(values.base),
  }
}

/** Program, arguments and environment of each contender at a workload. */
async function commands({ contenders, threads }) {
  if (!existsSync(join(root, 'dist/cjs/index.js')))
    throw new Failure('There is nothing to measure: npm run build first.')
  const script = (name) => join(root, 'bench/compare', name)
  const all = {
    ours: (name) => [
      process.execPath,
      [script('ours.mjs'), name, ...(threads ? [`${threads}`] : [])],
    ],
  }
  if (!contenders.some((name) => PEERS.includes(name))) return all
  if (!pythonPath()) await setUp()
  const env = threads ? { OMP_NUM_THREADS: `${threads}` } : {}
  const python = (name, ...flags) => [
    pythonPath(),
    ['-W', 'ignore', script('workloads.py'), name, ...flags],
    env,
  ]
  if (contenders.includes('old')) all.old = (name) => python(name)
  if (contenders.includes('newest')) {
    const PYTHONPATH = await newestPath()
    all.newest = (name) => {
      const [program, args] = python(name, 'flash')
      return [program, args, { ...env, PYTHONPATH }]
    }
  }
  return all
}

/** From the start of a process to its end, with a first result between. */
async function compareStart(all, rounds) {
  const results = Object.fromEntries(all.map(([contender]) => [contender, { seconds: [] }]))
  // the first time reads from the disk
  for (let round = -1; round < rounds; round++) {
    for (const [contender, command] of all) {
      const seconds = await wholeLife(...command(START))
      if (round >= 0) results[contender].seconds.push(seconds)
    }
  }
  return results
}

function write(out, results, rounds) {
  const machine = machineNow(rounds)
  const infos = Object.values(results).find(({ ours }) => ours.info) ?? {}
  const lines = [heading(machine, infos), '', ...table(results)]
  console.log(lines.join('\n'))
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, `${machine.date}.md`), `${lines.join('\n')}\n`)
  writeFileSync(
    join(out, `${machine.date}.json`),
    `${JSON.stringify({ ...machine, results }, null, 1)}\n`,
  )
}

async function benchBase({ base, names, rounds, threads }) {
  if (!existsSync(join(base, 'dist/cjs/index.js')))
    throw new Failure(`There is no build in ${base}: npm run build there.`)
  const settings = { rounds: Math.max(rounds, LEAST_ROUNDS), threads }
  const slower = await compareWithBase(
    base,
    names.filter((name) => name !== START),
    turns,
    settings,
  )
  if (slower.length) throw new Failure(`Slower than the base: ${slower.join(', ')}.`)
}

async function bench() {
  const options = settings()
  if (options.help) return void process.stdout.write(HELP)
  if (options.base) return await benchBase(options)
  const all = await commands(options)
  const results = {}
  for (const name of options.names) {
    say(name)
    const taking = Object.entries(all).filter(([contender]) => !REFUSED[contender]?.includes(name))
    results[name] =
      name === START
        ? await compareStart(taking, options.rounds)
        : await compete(
            taking.map(([contender, command]) => [contender, command(name)]),
            turns(name),
            options.rounds,
          )
  }
  write(options.out, results, options.rounds)
}

await main(bench)
