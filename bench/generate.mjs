// Generation by a model of 12 layers: how long 128 tokens take, whether a late token costs more than an early one, and many rows more than
// one; with kept keys and values and without; with weights in fewer bytes.
import { existsSync, writeFileSync } from 'node:fs'
import { arch, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { main } from '../scripts/ensure.mjs'
import { Failure, root, say } from '../scripts/lib.mjs'
import { start } from './contender.mjs'
import { median, whole } from './numbers.mjs'

const HELP = `npm run bench:generate -- [--rounds N] [--threads N] [--python PYTHON] [--json FILE]

  --rounds   how often each is measured (5; what takes long less often); the medians are reported
  --threads  how many threads compute (as many as there are processors)
  --python   a Python with PyTorch and the newest x-transformers, which then takes turns with this package
  --json     writes all times into a file

Takes some two minutes.
`

const MODEL = { num_tokens: 20_000, max_seq_len: 1025, dim: 512, depth: 12, heads: 8 }
const PROMPT = 32
const NEW = 128
const ROWS = 16
/** Of weights in fewer bytes, beside f32. */
const FORMATS = ['bf16', 'q8_0', 'q4_0']
/** What takes longest is measured so often at most. */
const FEW = 3
/** Tokens of a stream whose times are compared: with some on each side. */
const [EARLY, LATE, AROUND] = [10, 1000, 8]
/** Shorter, so that the late tokens are still within the window. */
const STREAM_PROMPT = 16

function settings() {
  const text = { type: 'string' }
  const options = {
    help: { type: 'boolean' },
    rounds: text,
    threads: text,
    python: text,
    json: text,
  }
  const { values } = parseArgs({ options })
  return { ...values, rounds: whole('rounds', values) ?? 5, threads: whole('threads', values) }
}

async function library(threads) {
  if (!existsSync(join(root, 'dist/cjs/index.js')))
    throw new Failure('There is nothing to measure: npm run build first.')
  const x = await import('x-transformers')
  if (threads) x.setNumThreads(threads)
  return x
}

/** Our generation: seconds for `NEW` tokens behind each of `rows` prompts, and tokens of a stream one by one. `format`: of the weights, unless f32. */
function ours(x, format) {
  const { num_tokens, max_seq_len, ...layers } = MODEL
  const net = new x.TransformerWrapper({
    num_tokens,
    max_seq_len,
    attn_layers: new x.Decoder(layers),
  })
  const model = new x.AutoregressiveWrapper(net).eval()
  if (format) model.quantize(format)
  return {
    async seconds(rows, tokens, options) {
      const prompt = x.randint(0, num_tokens, [rows, PROMPT])
      const begin = performance.now()
      const drawn = await model.generate(prompt, tokens, options)
      const seconds = (performance.now() - begin) / 1000
      for (const tensor of [prompt, drawn]) tensor.dispose()
      return seconds
    },
    stream: () => timed(model.stream(x.randint(0, num_tokens, [1, STREAM_PROMPT]), LATE + AROUND)),
  }
}

/** A stream whose tokens are taken for their times, in milliseconds. */
function timed(stream) {
  const tokens = stream[Symbol.asyncIterator]()
  return {
    async take() {
      const begin = performance.now()
      await tokens.next()
      return performance.now() - begin
    },
    end: () => tokens.return(),
  }
}

/** The Python package in a process of its own: `{ info, seconds(rows, tokens), close() }`. */
async function startPython(program) {
  const script = join(root, 'bench/generate.py')
  const { info, ask, close } = await start(program, [
    '-W',
    'ignore',
    script,
    JSON.stringify({ ...MODEL, prompt: PROMPT }),
  ])
  return {
    info,
    close,
    seconds: async (rows, tokens) => (await ask(JSON.stringify([rows, tokens]))).seconds,
  }
}

/** What is measured: a title, how often, and a run. */
function contenders(own, quantized, python, rounds) {
  const few = Math.min(rounds, FEW)
  const formats = quantized.map(([format, model]) => [
    format,
    { title: `1 row, ${format}`, rounds, run: (tokens) => model.seconds(1, tokens) },
  ])
  return {
    cached: { title: '1 row', rounds, run: (tokens) => own.seconds(1, tokens) },
    ...Object.fromEntries(formats),
    ...(python && {
      python: { title: '1 row, Python', rounds, run: (tokens) => python.seconds(1, tokens) },
    }),
    rows: { title: `${ROWS} rows`, rounds: few, run: (tokens) => own.seconds(ROWS, tokens) },
    plain: {
      title: '1 row, cache_kv: false',
      rounds: few,
      run: (tokens) => own.seconds(1, tokens, { cache_kv: false }),
    },
  }
}

/** Takes turns, so that what else the machine does meets all alike. */
async function inTurns(all) {
  const times = Object.fromEntries(Object.keys(all).map((name) => [name, []]))
  for (const { run } of Object.values(all)) await run(2)
  for (
    let round = 0;
    round < Math.max(...Object.values(all).map(({ rounds }) => rounds));
    round++
  ) {
    say(`round ${round + 1}`)
    for (const [name, { rounds, run }] of Object.entries(all))
      if (round < rounds) times[name].push(await run(NEW))
  }
  return times
}

/** Times of the tokens around the early and the late one, in milliseconds; a stream that is there takes turns with one that is far on. */
async function tokenTimes(own) {
  say(`a stream of ${LATE} tokens`)
  const [early, late] = [own.stream(), own.stream()]
  for (let i = 1; i < EARLY - AROUND; i++) await early.take()
  for (let i = 1; i < LATE - AROUND; i++) await late.take()
  const times = { early: [], late: [] }
  for (let i = 0; i <= 2 * AROUND; i++) {
    times.early.push(await early.take())
    times.late.push(await late.take())
  }
  await early.end()
  await late.end()
  return times
}

function ratios({ cached, python, rows, plain, ...times }, { early, late }) {
  const over = (a, b) => median(a) / median(b)
  return {
    [`${ROWS} rows to 1`]: over(rows, cached),
    'cache_kv: false to true': over(plain, cached),
    ...Object.fromEntries(
      FORMATS.map((format) => [`${format} to f32`, over(times[format], cached)]),
    ),
    [`token ${LATE} to token ${EARLY}`]: over(late, early),
    ...(python && { 'this package to Python': over(cached, python) }),
  }
}

function report(all, times, tokens) {
  const line = (title, values, unit) => {
    const cells = values.map((value) => value.toFixed(2).padStart(10)).join('')
    return `${title.padEnd(28)}${cells} ${unit}`
  }
  const row = (title, list, unit) =>
    line(title, [median(list), Math.min(...list), Math.max(...list)], unit)
  const head = `${''.padEnd(28)}${['median', 'least', 'most'].map((cell) => cell.padStart(10)).join('')}`
  return [
    `${NEW} tokens behind ${PROMPT}, by ${MODEL.depth} layers of width ${MODEL.dim} over ${MODEL.num_tokens} tokens`,
    head,
    ...Object.entries(all).map(([name, { title }]) => row(title, times[name], 's')),
    row(`token ${EARLY} of a stream`, tokens.early, 'ms'),
    row(`token ${LATE} of a stream`, tokens.late, 'ms'),
    '',
    ...Object.entries(ratios(times, tokens)).map(([title, ratio]) => line(title, [ratio], '')),
  ].join('\n')
}

async function bench() {
  const { help, rounds, threads, python: program, json } = settings()
  if (help) return void process.stdout.write(HELP)
  const x = await library(threads)
  const [own, python] = [ours(x), program ? await startPython(program) : null]
  try {
    const quantized = FORMATS.map((format) => [format, ours(x, format)])
    const all = contenders(own, quantized, python, rounds)
    const [times, tokens] = [await inTurns(all), await tokenTimes(own)]
    console.log(report(all, times, tokens))
    const machine = {
      cpu: cpus()[0]?.model,
      cpus: cpus().length,
      arch: arch(),
      node: process.version,
    }
    const { target, threads: used, version } = x.info()
    console.log(`\n${machine.cpu}; this package ${version}, ${target}, threads: ${used}`)
    if (python)
      console.log(
        `Python: ${Object.entries(python.info)
          .map((entry) => entry.join(' '))
          .join(', ')}`,
      )
    const everything = {
      ...machine,
      python: python?.info,
      seconds: times,
      stream_ms: tokens,
      ratios: ratios(times, tokens),
    }
    if (json) writeFileSync(json, `${JSON.stringify(everything, null, 2)}\n`)
  } finally {
    python?.close()
  }
}

await main(bench)
