// What takes too long for `npm test`, to be run before a release: all that can be done without
// publishing. `npm run release:check -- NAME ...` runs the parts whose name contains one of the
// names: `slow`, `examples`, `huggingface`, `cuda`, `crates`, `platforms`, `workflows`, `install`,
// `publish`.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { runnable } from './cross/runtimes.mjs'
import { countedCheck } from './cuda/check.mjs'
import { buildDriver, canEmulate, emulatedDriver, kernelFiles } from './cuda/emulator.mjs'
import { useKernels } from './cuda/kernels.mjs'
import { deviceTests } from './cuda/tests.mjs'
import { ensure, main } from './ensure.mjs'
import { huggingfaceParts } from './huggingface/check.mjs'
import { cache, run } from './lib.mjs'
import { installCheck } from './outside/check.mjs'
import { ensurePackages } from './packages.mjs'
import { check, runParts, tee, wantedParts } from './parts.mjs'
import { documentation, examples, packages } from './release/crates.mjs'
import { checkWorkflows } from './release/workflows.mjs'
import { CARGO_TEST, colours, rustCounts } from './rust.mjs'
import { slowFiles, WITH_SLOW } from './slow.mjs'
import { TRAINING_EXAMPLES, wholeExample } from './training-examples.mjs'
import { vitest } from './vitest.mjs'

const SANITIZERS = [
  ...['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'],
  ...['-fno-omit-frame-pointer', '-O1'],
]

/** A library of the compiler, which must be loaded first where the program was built without it. */
async function runtime(name) {
  const { out } = await run('c++', [`-print-file-name=${name}`], { stdout: 'capture' })
  return out.trim()
}

/** The driver with address and undefined-behaviour sanitizers, and what its processes need. */
async function sanitized() {
  const folder = join(cache(), 'cuda-emulator-sanitized')
  mkdirSync(folder, { recursive: true })
  await buildDriver(join(folder, 'libcuda.so.1'), kernelFiles(), { flags: SANITIZERS })
  const libraries = await Promise.all(['libasan.so', 'libubsan.so'].map(runtime))
  return [folder, { LD_PRELOAD: libraries.join(' '), ASAN_OPTIONS: 'detect_leaks=0' }]
}

/** The tests on an emulated GPU, with settings that `npm test` leaves out. */
function cudaParts() {
  if (!canEmulate) return {}
  const short = ['xt_kernels', 'golden', 'device']
  const tests = (options) => async () => deviceTests(await emulatedDriver(), options)
  const orders = [1, 2, 3].map((seed) => [
    `cuda: order ${seed} of threads`,
    tests({ env: { EMULATED_CUDA_SEED: `${seed}` }, only: short }),
  ])
  const late = { EMULATED_CUDA_LATE: '1' }
  return {
    ...Object.fromEntries(orders),
    'cuda: deferred execution': tests({ env: late, only: short }),
    'cuda: memory closed to the host': tests({
      env: { EMULATED_CUDA_PROTECT: '1' },
      only: short,
    }),
    'cuda: sanitizers': async () => {
      const [folder, env] = await sanitized()
      return deviceTests(folder, { env, only: short })
    },
    'cuda: public API': async () => {
      await ensure()
      return vitest('cuda', { LD_LIBRARY_PATH: await emulatedDriver(), XT_CUDA_TESTS: 'all' })
    },
    'cuda: behaviour, deferred, in another order, with its longest tests': tests({
      env: { ...late, EMULATED_CUDA_SEED: '1' },
      slow: true,
      only: ['behaviour'],
    }),
    'cuda: check:cuda': () => countedCheck({ withTests: true }),
  }
}

const script = (path, ...args) => check(tee(process.execPath, path, ...args))

/** The platforms that can be built and run here. */
function platformParts() {
  const part = (name) => [`platforms: ${name}`, () => script('scripts/cross/check.mjs', name)]
  return Object.fromEntries(runnable().map(part))
}

/** The files of a project with slow tests. */
async function slowTests(project) {
  await ensure(['packages', 'addon', 'wasm', 'ts'])
  return vitest(project, WITH_SLOW, slowFiles(project))
}

/** Four times as many random combinations as `npm test` has. */
async function combinations() {
  const options = { stdout: 'tee', env: { ...colours, ...WITH_SLOW } }
  return rustCounts(await run('cargo', [...CARGO_TEST, '--test', 'combinations'], options))
}

/** What `npm test` leaves out because it takes long and seldom fails. */
const SLOW_PARTS = {
  'slow: combinations': combinations,
  ...(canEmulate && {
    'slow: combinations, emulated GPU': async () =>
      deviceTests(await emulatedDriver(), { only: ['combinations'] }),
  }),
  'slow: vitest node': () => slowTests('node'),
  'slow: vitest browser': () => slowTests('browser'),
}

/** The examples that train, at full size. */
function exampleParts() {
  const part = (name) => [
    `examples: ${name}`,
    async () => {
      await ensure()
      return wholeExample(name)
    },
  ]
  return Object.fromEntries(TRAINING_EXAMPLES.map(part))
}

const PARTS = {
  ...SLOW_PARTS,
  ...exampleParts(),
  ...huggingfaceParts(),
  'crates: documentation': documentation,
  'crates: examples': examples,
  'crates: packages': packages,
  workflows: checkWorkflows,
  ...cudaParts(),
  ...platformParts(),
  install: () => installCheck(),
  'publish, dry run': async () => {
    await ensure(['packages', 'addon', 'wasm', 'ts'])
    return script('scripts/release/publish.mjs', 'npm', '--dry-run')
  },
}

await main(async () => {
  const names = wantedParts(PARTS, process.argv.slice(2))
  await ensurePackages()
  await useKernels()
  await runParts(PARTS, names)
})
