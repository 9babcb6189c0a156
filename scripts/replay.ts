// The command of `npm run replay`: digests of every output, gradient and trained weight of the
// recorded cases and traces, natively and in WebAssembly. A change that must not alter any result
// is checked by the file written before it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { info } from 'x-transformers'
import { digest } from '../test/parity/digest.js'
import { listFixtures, runFile } from '../test/parity/fixtures.js'
import { command, userPath } from './command.js'

/** Digests by fixture, for each runtime. */
type Digests = Record<string, Record<string, string>>

const program = new Command('npm run replay --')
  .description(
    'Writes a digest of every result of the recorded cases, or compares with such a file.',
  )
  .option('--dir <dir>', 'folder with the recordings', 'test/golden')
  .option('--out <file>', 'where the digests go')
  .option('--cpu <model>', 'as this processor, native alone: Haswell has AVX2 and no AVX-512')
  .option('--against <file>', 'digests of another build, which must be the same')

/** What this process computes with; the other one is computed by a child process. */
const RUNTIMES = { native: {}, wasm: { X_TRANSFORMERS_ADDON: 'wasm' } } as const
type Runtime = keyof typeof RUNTIMES
const CHILD = 'X_TRANSFORMERS_REPLAY'

async function digestsOf(folder: string): Promise<Record<string, string>> {
  const digests: Record<string, string> = {}
  for (const fixture of listFixtures(folder)) {
    const { observe, value } = digest()
    const { status, reason } = await runFile(fixture, observe)
    // a failure is a result too: it must stay the same
    digests[fixture.name] = status === 'passed' ? value() : `${status}: ${reason}`
  }
  return digests
}

/** Computes with one of the runtimes, in a process of its own, or in qemu as another processor. */
function replay(runtime: Runtime, folder: string, cpu?: string): Record<string, string> {
  const env = { ...process.env, ...RUNTIMES[runtime], [CHILD]: runtime }
  const node = [process.execPath, fileURLToPath(import.meta.url), '--dir', folder]
  const [program, ...args] = cpu ? ['qemu-x86_64', '-cpu', cpu, ...node] : node
  const child = spawnSync(program as string, args, {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
    encoding: 'utf8',
  })
  if (child.error && cpu)
    throw new Error(`${child.error.message}: Debian's package qemu-user has it`)
  if (child.status !== 0)
    throw new Error(`the replay of ${runtime} ended with ${child.signal ?? child.status}`)
  return JSON.parse(child.stdout)
}

/** The fixtures whose digests differ, or that only one of both has. */
function differences(before: Digests, after: Digests): string[] {
  return Object.keys(after).flatMap((runtime) => {
    const [a, b] = [before[runtime] ?? {}, after[runtime] ?? {}]
    const names = new Set([...Object.keys(a), ...Object.keys(b)])
    return [...names].filter((name) => a[name] !== b[name]).map((name) => `${runtime}: ${name}`)
  })
}

await command(async () => {
  const options = program.parse().opts<{
    dir: string
    out?: string
    cpu?: string
    against?: string
  }>()
  const folder = userPath(options.dir)
  if (!existsSync(folder)) program.error(`${folder} does not exist`)
  const wanted = process.env[CHILD]
  if (wanted) {
    if (info().target !== wanted)
      throw new Error(`wanted ${wanted}, and ${info().target} was loaded`)
    process.stdout.write(JSON.stringify(await digestsOf(folder)))
    return
  }
  const digests: Digests = { native: replay('native', folder, options.cpu) }
  if (!options.cpu) digests.wasm = replay('wasm', folder)
  if (options.out) writeFileSync(userPath(options.out), `${JSON.stringify(digests, null, 1)}\n`)
  for (const [runtime, all] of Object.entries(digests)) {
    console.log(`${runtime}: ${Object.keys(all).length} fixtures`)
  }
  if (!options.against) return
  const before = JSON.parse(readFileSync(userPath(options.against), 'utf8')) as Digests
  const changed = differences(before, digests)
  for (const line of changed) console.log(`differs  ${line}`)
  console.log(changed.length ? `${changed.length} digests differ` : 'all digests are equal')
  if (changed.length) process.exitCode = 1
})
