// Every check and every test, one part after the other, then plain counts. `npm test -- NAME ...`
// runs the parts whose name contains one of the names.
import { stripVTControlCharacters } from 'node:util'
import { checkRust } from './addon.mjs'
import { countedCheck } from './cuda/check.mjs'
import { canEmulate, emulatedDriver } from './cuda/emulator.mjs'
import { useKernels } from './cuda/kernels.mjs'
import { deviceTests } from './cuda/tests.mjs'
import { ensure, main } from './ensure.mjs'
import { bin, Failure, run, say } from './lib.mjs'
import { ensurePackages } from './packages.mjs'
import { CARGO_TEST, colours, rustCounts, tail } from './rust.mjs'
import { vitest } from './vitest.mjs'

const tee = (program, ...args) => run(program, args, { stdout: 'tee', env: colours })
const node = (...args) => tee(process.execPath, ...args)

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

const cargoTest = async () => rustCounts(await tee('cargo', ...CARGO_TEST, '--no-fail-fast'))

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
  ...(canEmulate && {
    'cargo test, cuda': async () => deviceTests(await emulatedDriver()),
    // its part `unit-tests` is the part above
    'check:cuda, emulated': () => countedCheck({ withTests: false }),
  }),
  biome: () => check(node(bin('@biomejs/biome', 'biome'), 'check', '--error-on-warnings')),
  tsc: () => check(node(bin('typescript', 'tsc'), '--noEmit')),
  'vitest node': () => vitest('node'),
  ...(canEmulate && {
    'vitest cuda': async () => vitest('cuda', { LD_LIBRARY_PATH: await emulatedDriver() }),
  }),
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
