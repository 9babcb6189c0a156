// What takes too long for `npm test`, to be run before a release: the tests on an emulated GPU with
// other orders of threads, with deferred execution, with memory closed to the host, with
// sanitizers, those that take minutes, and the tarballs installed as users do.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { countedCheck } from './cuda/check.mjs'
import { buildDriver, canEmulate, emulatedDriver, kernelFiles } from './cuda/emulator.mjs'
import { useKernels } from './cuda/kernels.mjs'
import { deviceTests } from './cuda/tests.mjs'
import { ensure, main } from './ensure.mjs'
import { cache, Failure, run, say } from './lib.mjs'
import { installCheck } from './outside/check.mjs'
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

await main(async () => {
  if (!canEmulate) throw new Failure('The emulated CUDA driver needs Linux on x86-64.')
  await ensure()
  await useKernels()
  const driver = await emulatedDriver()
  const short = ['xt_kernels', 'golden', 'device']
  const seeds = [1, 2, 3].map((seed) => [
    `order ${seed} of threads`,
    () => deviceTests(driver, { env: { EMULATED_CUDA_SEED: `${seed}` }, only: short }),
  ])
  const checks = [
    ...seeds,
    [
      'deferred execution',
      () => deviceTests(driver, { env: { EMULATED_CUDA_LATE: '1' }, only: short }),
    ],
    [
      'memory closed to the host',
      () => deviceTests(driver, { env: { EMULATED_CUDA_PROTECT: '1' }, only: short }),
    ],
    [
      'sanitizers',
      async () => {
        const [folder, env] = await sanitized()
        return deviceTests(folder, { env, only: short })
      },
    ],
    ['public API', () => vitest('cuda', { LD_LIBRARY_PATH: driver, XT_CUDA_TESTS: 'all' })],
    [
      'behaviour, deferred, in another order, with slow tests',
      () => {
        const env = { EMULATED_CUDA_LATE: '1', EMULATED_CUDA_SEED: '1' }
        return deviceTests(driver, { env, slow: true, only: ['behaviour'] })
      },
    ],
    ['check:cuda', () => countedCheck({ withTests: true })],
    ['check:install', () => installCheck()],
  ]
  let failed = 0
  for (const [name, check] of checks) {
    say(`\n== ${name}`)
    const counts = await check()
    for (const text of counts.failures) console.log(text)
    console.log(`${name}: ${counts.passed} passed, ${counts.failed} failed`)
    failed += counts.failed
  }
  process.exitCode = failed > 0 ? 1 : 0
})
