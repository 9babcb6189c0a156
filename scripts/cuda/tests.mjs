// The tests of Rust on a GPU, by a CUDA driver that runs on the CPU.
import { run } from '../lib.mjs'
import { builtPrograms, CARGO_TEST, colours, rustCounts } from '../rust.mjs'

/** The test programs that compute on the device that XT_DEVICE names. */
const PROGRAMS = ['xt_kernels', 'golden', 'device', 'behaviour', 'combinations']

/** The crates that have them; another one has a program of the same name. */
const CRATES = /[\\/](kernels|core)[\\/]Cargo\.toml$/

/** Quantized weights stay on the CPU. */
const CPU_ONLY = ['quantize::']

/** Take minutes on an emulated GPU; `npm run release:check` runs them. */
const SLOW = ['hundreds_of_tokens_behind_a_short_prompt', 'losses_fall_and_a_trained_model']

/** The test programs by name, built where that is missing; null where that fails. */
export const testPrograms = () =>
  builtPrograms([...CARGO_TEST, '--no-run'], (manifest) => CRATES.test(manifest))

/**
 * Runs the tests with the driver in the folder `driver`.
 *
 * @param env more variables, such as the order of threads
 * @param slow the slow ones too
 * @param only the programs to run
 */
export async function deviceTests(driver, { env = {}, slow = false, only = PROGRAMS } = {}) {
  const programs = await testPrograms()
  if (!programs) return { passed: 0, failed: 1, skipped: 0, failures: ['see `cargo test`'] }
  const device = {
    XT_DEVICE: 'cuda',
    LD_LIBRARY_PATH: driver,
    PROPTEST_CASES: '4',
    EMULATED_CUDA_LEAKS: '1',
  }
  const skip = [...CPU_ONLY, ...(slow ? [] : SLOW)].flatMap((name) => ['--skip', name])
  const sum = { passed: 0, failed: 0, skipped: 0, failures: [] }
  for (const name of only) {
    const args = name === 'behaviour' ? skip : []
    const options = { stdout: 'tee', env: { ...colours, ...device, ...env } }
    const counts = rustCounts(await run(programs.get(name), args, options))
    for (const column of ['passed', 'failed', 'skipped']) sum[column] += counts[column]
    sum.failures.push(...(counts.failures ?? []))
    if (counts.passed === 0) sum.failures.push(`${name}: no test has passed`)
  }
  return { ...sum, failed: Math.max(sum.failed, sum.failures.length) }
}
