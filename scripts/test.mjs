// Every check and every test, one part after the other, then plain counts. `npm test -- NAME ...`
// runs the parts whose name contains one of the names.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { checkRust } from './addon.mjs'
import { emulatedDriver } from './cuda/emulator.mjs'
import { useKernels } from './cuda/kernels.mjs'
import { ensure, main } from './ensure.mjs'
import { bin, Failure, run, say } from './lib.mjs'
import { ensurePackages } from './packages.mjs'

const colours = process.stdout.isTTY ? { CARGO_TERM_COLOR: 'always', FORCE_COLOR: '1' } : {}
const tee = (program, ...args) => run(program, args, { stdout: 'tee', env: colours })
const node = (...args) => tee(process.execPath, ...args)

/** The last lines of what a program printed. */
const tail = (text, lines = 40) =>
  stripVTControlCharacters(text).trimEnd().split('\n').slice(-lines).join('\n')

/** A part that passes or fails as a whole. */
const check = async (result) => {
  const { code, out } = await result
  if (code === 0) return { passed: 1, failed: 0, skipped: 0 }
  return { passed: 0, failed: 1, skipped: 0, failures: [tail(out)] }
}

async function build() {
  try {
    await ensure(['packages', 'addon', 'wasm', 'ts'])
    return { passed: 1, failed: 0, skipped: 0 }
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return { passed: 0, failed: 1, skipped: 0, failures: [error.message] }
  }
}

/** Sums up the lines in which each of cargo's test programs reports. */
function rustCounts({ code, out }) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const plain = stripVTControlCharacters(out)
  const line = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm
  for (const [, passed, failed, ignored] of plain.matchAll(line)) {
    counts.passed += Number(passed)
    counts.failed += Number(failed)
    counts.skipped += Number(ignored)
  }
  if (code === 0) return counts
  // What did not compile, or died, reports nothing.
  if (counts.failed === 0) return { ...counts, failed: 1, failures: [tail(plain)] }
  const messages = plain.matchAll(/^---- \S+ stdout ----\n(?:(?!---- |failures:).*\n)*/gm)
  return { ...counts, failures: Array.from(messages, ([text]) => text.trimEnd()) }
}

const CARGO_TEST = ['test', '--release', '--workspace']

const cargoTest = async () => rustCounts(await tee('cargo', ...CARGO_TEST, '--no-fail-fast'))

/**
 * The test programs that compute on the device that XT_DEVICE names, and which of their tests are
 * left out there: quantized weights stay on the CPU, and the others take minutes on an emulated
 * GPU (`npm run release:check` runs them).
 */
const SLOW = ['hundreds_of_tokens_behind_a_short_prompt', 'losses_fall_and_a_trained_model']
const LEFT_OUT = ['quantize::', ...SLOW].flatMap((name) => ['--skip', name])
const DEVICE_TESTS = {
  xt_kernels: [],
  golden: [],
  device: [],
  behaviour: LEFT_OUT,
  combinations: [],
}

/** The kernels and the golden cases on a GPU, by the CUDA driver that runs on the CPU. */
async function cargoTestCuda() {
  const driver = await emulatedDriver()
  const env = { ...colours, XT_DEVICE: 'cuda', LD_LIBRARY_PATH: driver, PROPTEST_CASES: '4' }
  const json = [...CARGO_TEST, '--no-run', '--message-format=json-render-diagnostics']
  const { code, out } = await run('cargo', json, { stdout: 'capture' })
  if (code !== 0) return { passed: 0, failed: 1, skipped: 0, failures: ['see `cargo test`'] }
  const programs = out
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter((message) => message.executable && message.target.name in DEVICE_TESTS)
  const all = []
  for (const { executable, target } of programs)
    all.push(rustCounts(await run(executable, DEVICE_TESTS[target.name], { stdout: 'tee', env })))
  const sum = (column) => all.reduce((total, counts) => total + counts[column], 0)
  const missing = Object.keys(DEVICE_TESTS).length - programs.length
  return {
    passed: sum('passed'),
    failed: sum('failed') + missing,
    skipped: sum('skipped'),
    failures: all.flatMap(({ failures = [] }) => failures),
  }
}

/** The tests of TypeScript in one of the two runtimes. */
async function vitest(project) {
  const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
  const file = join(folder, 'vitest.json')
  try {
    const { code } = await node(
      bin('vitest'),
      'run',
      `--project=${project}`,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    )
    const report = JSON.parse(readFileSync(file, 'utf8'))
    // A file that could not be loaded fails without a test of its own.
    const broken = report.testResults.filter(
      (r) => r.status === 'failed' && !r.assertionResults.some((t) => t.status === 'failed'),
    )
    const failures = [
      ...broken.map((file) => `${file.name}\n${file.message}`),
      ...report.testResults.flatMap((file) =>
        file.assertionResults
          .filter((test) => test.status === 'failed')
          .map((test) => `${file.name} > ${test.fullName}\n${test.failureMessages.join('\n')}`),
      ),
    ]
    if (code !== 0 && !failures.length) failures.push(`vitest ended with exit code ${code}`)
    return {
      passed: report.numPassedTests,
      failed: failures.length,
      skipped: report.numPendingTests + report.numTodoTests,
      failures,
    }
  } catch (error) {
    const failures = [`vitest left no report: ${error.message}`]
    return { passed: 0, failed: 1, skipped: 0, failures }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

// One cargo profile throughout, so that nothing is compiled twice.
const PARTS = {
  build,
  rustfmt: () => check(tee('cargo', 'fmt', '--all', '--check')),
  clippy: () =>
    check(
      tee('cargo', 'clippy', '--release', '--workspace', '--all-targets', '--', '-D', 'warnings'),
    ),
  // as in WebAssembly; the workspace has the Node addon, which is built with CUDA
  'clippy, without cuda': () =>
    check(tee('cargo', 'clippy', '--release', '-p', 'xt-bindings', '--', '-D', 'warnings')),
  'xtask generate --check': () =>
    check(tee('cargo', 'run', '--release', '-p', 'xtask', '--', 'generate', '--check')),
  'cargo test': cargoTest,
  // the driver is built on Linux alone
  ...(process.platform === 'linux' && { 'cargo test, cuda': cargoTestCuda }),
  biome: () => check(node(bin('@biomejs/biome', 'biome'), 'check', '--error-on-warnings')),
  tsc: () => check(node(bin('typescript', 'tsc'), '--noEmit')),
  'vitest node': () => vitest('node'),
  'vitest browser': () => vitest('browser'),
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

await main(async () => {
  const wanted = process.argv.slice(2)
  const names = Object.keys(PARTS).filter(
    (part) => !wanted.length || wanted.some((name) => part.includes(name)),
  )
  if (!names.length)
    throw new Failure(`No part is named so; there is: ${Object.keys(PARTS).join(', ')}.`)
  await ensurePackages()
  await checkRust()
  await useKernels()
  const needsBuild = names.some((name) => name.startsWith('vitest')) && !names.includes('build')
  const rows = []
  for (const part of needsBuild ? ['build', ...names] : names) {
    say(`\n== ${part}`)
    const start = performance.now()
    const counts = await PARTS[part]()
    rows.push({ part, ...counts, seconds: ((performance.now() - start) / 1000).toFixed(1) })
  }
  // Said last, so that whoever keeps only the end of this output sees what failed.
  for (const { part, failures = [] } of rows)
    for (const text of failures)
      console.log(`\n== failed in ${part}\n${stripVTControlCharacters(text)}`)
  const sum = (column) => rows.reduce((total, row) => total + row[column], 0)
  console.log(
    `\n${table(rows)}\n\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`,
  )
  process.exitCode = sum('failed') > 0 ? 1 : 0
})
