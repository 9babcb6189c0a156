// GPUs, with the CUDA driver that runs on the CPU (crates/kernels/src/cuda/emulator): each program
// is a process of its own, since the driver is looked for once.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe } from 'vitest'
import { canEmulate, emulatedDriver } from '../../scripts/cuda/emulator.mjs'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** A small model of a program, and a batch for it. */
export const MODEL = `
  manualSeed(1)
  const model = new AutoregressiveWrapper(new TransformerWrapper({
    num_tokens: 16, max_seq_len: 16,
    attn_layers: new Decoder({ dim: 16, depth: 2, heads: 2, rotary_pos_emb: true, ff_glu: true }),
  }))
  const batch = randint(0, 16, [2, 9])`

/** The folder of the emulated driver. */
let driver: string

/** What a program logs as JSON, line by line, and what the driver prints. */
async function outputs(program: string, env: Record<string, string> = {}) {
  const code = `
    import {
      AdamW, AutoregressiveWrapper, clipGradNorm, crossEntropy, cudaInfo, cudaIsAvailable, Decoder,
      load, manualSeed, memory, noGrad, randint, randn, setDefaultDevice, tensor,
      TransformerWrapper, where, zeros,
    } from 'x-transformers'
    const log = (value) => console.log(JSON.stringify(value))
    /** Code and message of the error. */
    const caught = async (work) => {
      try { await work() } catch ({ code, message }) { return [code, message] }
    }
    ${program}`
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', code],
    { cwd: root, env: { ...process.env, ...env }, timeout: 60_000 },
  )
  const lines: unknown[] = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  return { lines, stderr }
}

/** What a program logs, with the driver of this machine where it has one. */
export const run = async (program: string, env?: Record<string, string>) =>
  (await outputs(program, env)).lines

/** What a program logs with the emulated driver. */
export const emulated = (program: string, env: Record<string, string> = {}) =>
  run(program, { LD_LIBRARY_PATH: driver, ...env })

/** The same, and what the driver prints: how often it was called for what. */
export const counted = (program: string, env: Record<string, string> = {}) =>
  outputs(program, { LD_LIBRARY_PATH: driver, EMULATED_CUDA_LOG: '1', ...env })

beforeAll(async () => {
  if (canEmulate) driver = await emulatedDriver()
}, 120_000)

// the emulated driver runs on Linux on x86-64 alone
export const withDriver = describe.skipIf(!canEmulate)
