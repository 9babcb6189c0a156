// Builds the native addon when it is missing or stale, and puts it at the root of the package.
import { copyFileSync, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { useKernels } from './cuda/kernels.mjs'
import { Failure, hashOf, readText, root, run, say } from './lib.mjs'
import { triple } from './platforms.mjs'

const SOURCES = ['crates', 'Cargo.toml', 'Cargo.lock', '.cargo', 'rust-toolchain.toml']

const parts = (version) => version.split('.').map(Number)

function atLeast(have, want) {
  const [a, b] = [parts(have), parts(want)]
  const i = a.findIndex((part, i) => part !== (b[i] ?? 0))
  return i < 0 || a[i] > (b[i] ?? 0)
}

/** Says what to do where Rust is missing or too old. */
export async function checkRust() {
  const wanted =
    readText(join(root, 'Cargo.toml')).match(/^rust-version = "([\d.]+)"/m)?.[1] ?? '1.88'
  const cargo = await run('cargo', ['--version'], { stdout: 'capture' })
  if (cargo.code !== 0) {
    throw new Failure(
      `Rust is needed to build the native addon, and cargo was not found.\nInstall stable Rust ${wanted} or newer (https://rustup.rs), open a new terminal, and run this again.`,
    )
  }
  const rustc = await run('rustc', ['--version'], { stdout: 'capture' })
  const have = rustc.out.match(/rustc (\d+\.\d+\.\d+)/)?.[1]
  if (!have || !atLeast(have, wanted)) {
    throw new Failure(
      `Rust ${wanted} or newer is needed, this is ${have ?? 'an unknown version'}.\nRun \`rustup update stable\`, then this again.`,
    )
  }
}

/** The library that cargo has built, wherever its target folder is. */
export function artifact(output) {
  for (const line of output.split('\n').filter((line) => line.startsWith('{'))) {
    const message = JSON.parse(line)
    if (
      message.reason !== 'compiler-artifact' ||
      message.target.name.replace('-', '_') !== 'xt_node'
    )
      continue
    const file = message.filenames.find((name) => /\.(so|dylib|dll)$/.test(name))
    if (file) return file
  }
  throw new Failure('cargo built no library named xt_node')
}

export async function ensureAddon() {
  const target = join(root, `x-transformers.${triple()}.node`)
  const stamp = `${target}.stamp`
  await useKernels()
  const hash = hashOf(SOURCES, basename(process.env.XT_CUDA_KERNELS))
  if (existsSync(target) && readText(stamp) === hash) return
  await checkRust()
  say('Building the native addon (some minutes the first time) ...')
  const build = await run(
    'cargo',
    ['build', '--release', '-p', 'xt-node', '--message-format=json-render-diagnostics'],
    {
      stdout: 'capture',
    },
  )
  if (build.code !== 0) {
    throw new Failure(
      'The native addon did not build; the reason stands above.\n(If a linker or `cc` is missing: install a C compiler, e.g. `apt-get install build-essential` or `xcode-select --install`.)',
    )
  }
  // A new file under the old name: a process that has loaded the old one keeps it.
  rmSync(stamp, { force: true })
  copyFileSync(artifact(build.out), `${target}.new`)
  renameSync(`${target}.new`, target)
  writeFileSync(stamp, hash)
}
