// The tests of Rust on a GPU, by a CUDA driver that runs on the CPU.
import { run } from '../lib.mjs'
import { builtPrograms, CARGO_TEST, colours, rustCounts } from '../rust.mjs'

/**
 * The test programs that compute on the device that XT_DEVICE names, but `combinations`, which
 * takes long on an emulated GPU: `npm run release:check` runs it.
 */
const PROGRAMS = ['xt_kernels', 'golden', 'device', 'behaviour']

/** The crates that have them; another one has a program of the same name. */
const CRATES = /[\\/](kernels|core)[\\/]Cargo\.toml$/

/** Tests of what is on the CPU alone: quantized weights, parts of its kernels, its memory. */
const CPU_ONLY = ['quantize::', 'quantized::', 'host::', 'memory::', 'on_the_cpu']

/** Take long there too, and run in `npm run release:check`. */
const SLOW = [
  'hundreds_of_tokens_behind_a_short_prompt',
  'losses_fall_and_a_trained_model',
  'padded_prompts_generate_as_each_alone',
  'token_critic_and_self_token_critic_learn',
  'deepnorm_with_1000_layers',
  'batch_size_gives_rows_and_null_one_axis',
  'damage_anywhere_in_a_file',
]

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
    const options = { stdout: 'tee', env: { ...colours, ...device, ...env } }
    const counts = rustCounts(await run(programs.get(name), skip, options))
    for (const column of ['passed', 'failed', 'skipped']) sum[column] += counts[column]
    sum.failures.push(...(counts.failures ?? []))
    if (counts.passed === 0) sum.failures.push(`${name}: no test has passed`)
  }
  return { ...sum, failed: Math.max(sum.failed, sum.failures.length) }
}
