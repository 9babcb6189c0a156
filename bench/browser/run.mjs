// Forward and train step of two small models in Chromium: TensorFlow.js and this package, beside its native build in Node. One thread,
// except for the contender `threads`.
//
//   npm run bench:browser -- [--only tiny|char] [--contenders tfjs,tfjs-tuned,wasm,worker,threads,native]
//                            [--rounds N] [--warm-up N] [--json FILE]
//
// Each contender warms up with some calls of both kinds (page/models.js says how many), then they take turns for some rounds; the medians
// are reported. Equal weights and tokens go in; logits and losses must come out equal.
import { existsSync, writeFileSync } from 'node:fs'
import { arch, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { main } from '../../scripts/ensure.mjs'
import { Failure, root, say } from '../../scripts/lib.mjs'
import { CONTENDERS, openProcess, startBrowser } from './contenders.mjs'
import { MODELS } from './page/models.js'
import { report, summary } from './report.mjs'

const WORKS = ['forward', 'trainStep']
const ROUNDS = 5
/** A train step of TensorFlow.js may take a minute. */
const SLOW_ROUNDS = 3
const TOLERANCE = 1e-3
/** Losses of later steps drift apart: rounding differs, and each step builds on the one before. */
const COMPARED_STEPS = 5

function isBuilt(name) {
  const { needs } = CONTENDERS[name]
  if (!needs || existsSync(join(root, needs))) return true
  say(`${name} is left out: there is no ${needs}`)
  return false
}

function settings() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      contenders: { type: 'string' },
      rounds: { type: 'string' },
      'warm-up': { type: 'string' },
      json: { type: 'string' },
    },
  })
  const pick = (given, known, what) => {
    const names = given?.split(',') ?? Object.keys(known)
    const unknown = names.find((name) => !known[name])
    if (unknown)
      throw new Failure(
        `There is no ${what} ${unknown}; there is: ${Object.keys(known).join(', ')}.`,
      )
    return names
  }
  const whole = (name) => {
    if (values[name] === undefined) return undefined
    if (!/^[1-9]\d*$/.test(values[name]))
      throw new Failure(`--${name} takes a whole number from 1.`)
    return Number(values[name])
  }
  const contenders = pick(values.contenders, CONTENDERS, 'contender').filter(isBuilt)
  if (!contenders.length) throw new Failure('Nobody is left to be measured: npm run build first.')
  return {
    models: pick(values.only, MODELS, 'model'),
    contenders,
    rounds: whole('rounds'),
    warmUp: whole('warm-up'),
    json: values.json,
  }
}

/** Loads a model into a contender and warms it up. Gives what it has measured so far. */
async function enter(name, model, browser, warmUp = MODELS[model].warm_up) {
  const { title, file, variant, process: own } = CONTENDERS[name]
  const host = own ? openProcess() : await browser.open()
  try {
    await host.call('load', file, model, variant)
    // one call more than the warm-up takes: the first that counts
    const { ms: forwards } = await host.call('measure', 'forward', warmUp + 1)
    const logits = await host.call('logits')
    const { ms: steps, values: losses } = await host.call('measure', 'trainStep', warmUp + 1)
    const cold = { forward: forwards[0], trainStep: steps[0] }
    const first = { forward: forwards[warmUp], trainStep: steps[warmUp] }
    const info = await host.call('info')
    return {
      name,
      title,
      info,
      host,
      cold,
      first,
      times: { forward: [], trainStep: [] },
      logits,
      losses,
    }
  } catch (error) {
    await host.close()
    throw error
  }
}

async function round(entry, model) {
  for (const work of WORKS) {
    const { ms, values } = await entry.host.call('measure', work, MODELS[model].calls)
    entry.times[work].push(...ms)
    if (work === 'trainStep') entry.losses.push(...values)
  }
}

/** The largest difference between numbers of the same place. Not a number counts as infinite. */
function difference(a, b) {
  let largest = 0
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const here = Math.abs(a[i] - b[i])
    largest = Math.max(largest, Number.isNaN(here) ? Number.POSITIVE_INFINITY : here)
  }
  return largest
}

/** All contenders must have computed the same: otherwise their times say nothing. */
function compare(entries, model) {
  const [first, ...others] = entries
  return others.map((entry) => {
    if (entry.logits.length !== first.logits.length)
      throw new Failure(`${entry.name} gives logits of another shape`)
    const logits = difference(entry.logits, first.logits)
    const losses = difference(
      entry.losses.slice(0, COMPARED_STEPS),
      first.losses.slice(0, COMPARED_STEPS),
    )
    if (!(Math.max(logits, losses) <= TOLERANCE)) {
      throw new Failure(
        `${model}: ${entry.name} and ${first.name} compute different things: logits differ by ${logits}, losses by ${losses}`,
      )
    }
    return { model, contenders: [first.name, entry.name], logits, losses }
  })
}

async function benchModel(model, browser, options) {
  const entries = []
  try {
    for (const name of options.contenders) {
      say(`${model}: ${name} warms up`)
      entries.push(await enter(name, model, browser, options.warmUp))
    }
    const rounds = (entry) =>
      options.rounds ?? (CONTENDERS[entry.name].slow && model === 'char' ? SLOW_ROUNDS : ROUNDS)
    for (let i = 0; i < Math.max(...entries.map(rounds)); i++) {
      say(`${model}: round ${i + 1}`)
      for (const entry of entries) if (i < rounds(entry)) await round(entry, model)
    }
    return { rows: summary(entries, model), checks: compare(entries, model) }
  } finally {
    for (const { host } of entries) await host.close()
  }
}

async function bench() {
  const options = settings()
  const browser = await startBrowser()
  try {
    const results = []
    for (const model of options.models) results.push(await benchModel(model, browser, options))
    const rows = results.flatMap((result) => result.rows)
    const checks = results.flatMap((result) => result.checks)
    console.log(report(rows, checks))
    const machine = {
      cpu: cpus()[0]?.model,
      cpus: cpus().length,
      arch: arch(),
      node: process.version,
    }
    if (options.json) {
      const all = { ...machine, chromium: browser.version, rows, checks }
      writeFileSync(options.json, `${JSON.stringify(all, null, 2)}\n`)
    }
  } finally {
    await browser.close()
  }
}

await main(bench)
