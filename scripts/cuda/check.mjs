// `npm run check:cuda`: makes a folder with a program that checks and measures this library on a
// machine with an NVIDIA GPU and nothing else (crates/check-cuda), and runs it if there is a GPU.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { main } from '../ensure.mjs'
import { Failure, onPath, root, run, say } from '../lib.mjs'
import { builtPrograms } from '../rust.mjs'
import { emulatedDriver } from './emulator.mjs'
import { useKernels } from './kernels.mjs'
import { testPrograms } from './tests.mjs'

const HELP = `npm run check:cuda -- [--folder FOLDER] [--build-only] [--emulate] [--only PART,PART]

  --folder      where the program and its files go (build/check-cuda)
  --build-only  make the folder only; otherwise its program runs if this machine has a GPU
  --emulate     run it on the emulated GPU, with small sizes
  --only        the parts of the check to run; \`check-cuda --help\` lists them

On another machine with an NVIDIA GPU: copy the folder there, and run ./check-cuda in it.
`

/** The largest size of the folder, so that it is easy to carry. */
const LARGEST = 60e6

/** Builds the check and the kernels' tests; returns their files. */
async function programs(withTests) {
  const args = ['build', '--release', '--workspace', '--bin', 'check-cuda']
  const check = (await builtPrograms(args))?.get('check-cuda')
  const tests = withTests ? (await testPrograms())?.get('xt_kernels') : null
  if (!check || (withTests && !tests)) throw new Failure('The check could not be built.')
  return { 'check-cuda': check, ...(tests && { 'kernel-tests': tests }) }
}

/** Copies a program without its symbols, where there is `strip`. */
async function copyProgram(from, to) {
  copyFileSync(from, to)
  chmodSync(to, 0o755)
  if (onPath('strip')) await run('strip', [to])
}

const size = (folder) =>
  readdirSync(folder, { recursive: true })
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)

/**
 * Makes the folder.
 *
 * @param withTests whether the program of the kernels' tests comes along
 */
export async function makeFolder(folder, { withTests = true } = {}) {
  await useKernels()
  if (!process.env.XT_CUDA_KERNELS)
    throw new Failure('Without CUDA kernels there is nothing to check.')
  const files = await programs(withTests)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [name, file] of Object.entries(files)) await copyProgram(file, join(folder, name))
  cpSync(join(root, 'test/golden'), join(folder, 'golden'), { recursive: true })
  copyFileSync(join(root, 'crates/check-cuda/pytorch.py'), join(folder, 'pytorch.py'))
  if (size(folder) > LARGEST) {
    const [mb, most] = [size(folder), LARGEST].map((bytes) => (bytes / 1e6).toFixed(1))
    throw new Failure(`The folder has ${mb} MB; it should have at most ${most}.`)
  }
}

const check = (folder, args, options) => run(join(folder, 'check-cuda'), args, options)

/** Runs the check on the emulated GPU; resolves to the reports of its parts. */
export async function emulatedCheck(folder, parts = []) {
  const out = join(folder, 'results.json')
  const only = parts.length ? ['--only', parts.join()] : []
  const env = { LD_LIBRARY_PATH: await emulatedDriver() }
  const { code } = await check(folder, ['--quick', '--out', out, ...only], { stdout: 'tee', env })
  return { code, parts: JSON.parse(readFileSync(out, 'utf8')).parts }
}

/** The parts that run on an emulated GPU, where PyTorch does not. */
const EMULATED = ['info', 'copies', 'kernels', 'golden', 'gradients', 'training', 'bench']

/**
 * Makes the folder and runs the check on the emulated GPU, as a part of a test; resolves to its
 * counts.
 *
 * @param withTests whether the kernels' tests run too
 */
export async function countedCheck({ withTests }) {
  const folder = mkdtempSync(join(tmpdir(), 'check-cuda-'))
  try {
    await makeFolder(folder, { withTests })
    const wanted = withTests ? [...EMULATED, 'unit-tests'] : EMULATED
    const { code, parts } = await emulatedCheck(folder, wanted)
    const failures = parts.flatMap(({ part, failures }) =>
      failures.map((text) => `${part}: ${text}`),
    )
    if (code !== 0 && !failures.length) failures.push(`check-cuda ended with status ${code}`)
    const passed = parts.filter(({ ok, skipped }) => ok && !skipped).length
    return { passed, failed: wanted.length - passed, skipped: 0, failures }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  await main(async () => {
    const flag = { type: 'boolean', default: false }
    const text = { type: 'string' }
    const { values } = parseArgs({
      options: { help: flag, folder: text, 'build-only': flag, emulate: flag, only: text },
    })
    if (values.help) return console.log(HELP)
    const folder = resolve(values.folder ?? join(root, 'build/check-cuda'))
    await makeFolder(folder)
    say(`${relative(root, folder)} has ${(size(folder) / 1e6).toFixed(1)} MB.`)
    if (values['build-only']) return
    if (values.emulate) {
      process.exitCode = (await emulatedCheck(folder, values.only?.split(','))).code
      return
    }
    const out = join(folder, 'results.json')
    const info = await check(folder, ['--only', 'info', '--out', out], { stdout: 'tee' })
    if (info.code !== 0)
      return say(
        `This machine has no GPU that can be used. Copy ${relative(root, folder)} to one that ` +
          'has, and run ./check-cuda there.',
      )
    const only = values.only ? ['--only', values.only] : []
    process.exitCode = (await check(folder, ['--out', out, ...only], { stdout: 'tee' })).code
  })
