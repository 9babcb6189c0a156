// A rustc that has the standard library of another target: the installed one where it has the
// target, else Debian's rustc for browsers, unpacked into the cache (nothing is installed on the
// system), for which the library is built from its sources.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { cache, Failure, onPath, readText, run, say } from '../lib.mjs'
import { apt, hasDebian, unpacked } from './debian.mjs'
import { writeScript } from './script.mjs'

const HOST = 'x86_64-unknown-linux-gnu'
const OLDEST = [1, 96]

const whatToDo = (
  target,
) => `The standard library of Rust for ${target} is missing. Add it and run this again:

  rustup target add ${target}`

const output = async (program, ...args) => {
  const { code, out } = await run(program, args, { stdout: 'capture' })
  return code === 0 ? out.trim() : ''
}

const hasStd = (folder) =>
  existsSync(folder) && readdirSync(folder).some((name) => /^libstd-.*\.rlib$/.test(name))

/** The version of Debian's rustc; null where there is none that is new enough. */
async function candidate() {
  if (!hasDebian()) return null
  const policy = await apt('policy', 'rustc-web')
  const version = policy.match(/Candidate: (?:\d+:)?((\d+)\.(\d+)\.\d+)/)
  if (!version) return null
  const [major, minor] = [Number(version[2]), Number(version[3])]
  return major > OLDEST[0] || minor >= OLDEST[1]
    ? { version: version[1], minor: `${major}.${minor}` }
    : null
}

/** The `usr` folder of Debian's rustc and of the sources of its standard library. */
async function debianRustc({ version, minor }) {
  const packages = ['rustc-web', `libstd-rust-web-${minor}`, 'libstd-rust-web-dev', 'rust-web-src']
  // the version of LLVM that this rustc was linked with
  const llvm = (await apt('depends', `libstd-rust-web-${minor}`)).match(/libllvm\d+/)?.[0]
  if (llvm) packages.push(llvm)
  const folder = await unpacked(`rustc-web-${version}`, packages, { finish: linkLinker })
  return join(folder, 'usr')
}

/** rustup's rustc brings the linker for wasm; Debian's expects it at the same place. */
async function linkLinker(folder) {
  const sysroot = await output('rustc', '--print', 'sysroot')
  const lld = [
    join(sysroot, 'lib/rustlib', HOST, 'bin/rust-lld'),
    onPath('rust-lld'),
    onPath('wasm-ld'),
    onPath('lld'),
  ]
  const found = lld.find((path) => path && existsSync(path))
  if (!found) throw new Failure('No linker for wasm (rust-lld, wasm-ld) was found.')
  const into = join(folder, 'usr/lib/rustlib', HOST, 'bin')
  mkdirSync(into, { recursive: true })
  symlinkSync(found, join(into, 'rust-lld'))
}

/** A script named `rustc` that runs Debian's compiler with a library folder of our own. */
function writeWrapper(usr, sysroot) {
  const libraries = join(usr, 'lib/x86_64-linux-gnu')
  const rustc = join(usr, 'bin/rustc')
  return writeScript(
    join(sysroot, 'wrapper/rustc'),
    `LD_LIBRARY_PATH='${libraries}' exec '${rustc}' --sysroot '${sysroot}' "$@"`,
  )
}

/** A linker for the shared form of the library, which nothing needs: it leaves an empty file. */
const writeLinker = (sysroot) =>
  writeScript(
    join(sysroot, 'wrapper/no-linker'),
    'while [ $# -gt 0 ]; do [ "$1" = -o ] && : > "$2"; shift; done',
  )

/**
 * A sysroot that shares the host's part with the unpacked packages and has the target's part of its
 * own.
 */
function makeSysroot(usr, sysroot, target) {
  rmSync(sysroot, { recursive: true, force: true })
  const rustlib = join(sysroot, 'lib/rustlib')
  mkdirSync(join(rustlib, target, 'lib'), { recursive: true })
  symlinkSync(join(usr, 'lib/rustlib', HOST), join(rustlib, HOST))
}

/** The objects that rustc puts first and last into programs and libraries for Windows. */
async function startObjects(rustc, target, sources, into) {
  for (const name of ['rsbegin', 'rsend']) {
    const args = ['--target', target, '--crate-type', 'lib', '--emit=obj', '-O']
    const files = ['-o', join(into, `${name}.o`), join(sources, 'rtstartup', `${name}.rs`)]
    const { code } = await run(rustc, [...args, ...files], { env: { RUSTC_BOOTSTRAP: '1' } })
    if (code !== 0) throw new Failure(`${name} of Rust's standard library did not compile.`)
  }
}

async function buildStd(debian, { target, name, features, flags, tools }) {
  const sysroot = join(cache(), 'rust-std', `${name}-${debian.version}`)
  const wrapper = join(sysroot, 'wrapper/rustc')
  if (existsSync(join(sysroot, '.complete'))) return wrapper
  const usr = await debianRustc(debian)
  say(`Building Rust's standard library for ${name} (a minute) ...`)
  makeSysroot(usr, sysroot, target)
  writeWrapper(usr, sysroot)
  const built = join(sysroot, 'target')
  const all = `-Cembed-bitcode=yes -Zforce-unstable-if-unmarked --cfg=windows_raw_dylib ${flags}`
  const args = ['build', '--release', '-Zavoid-dev-deps', '--target', target, '-p', 'sysroot']
  const sources = join(usr, 'src', `rustc-${debian.version}`, 'library')
  const { code } = await run('cargo', [...args, '--features', features, '--target-dir', built], {
    cwd: sources,
    env: {
      ...tools,
      RUSTC: wrapper,
      RUSTC_BOOTSTRAP: '1',
      __CARGO_DEFAULT_LIB_METADATA: 'stablestd',
      RUSTFLAGS: all.trim(),
      CARGO_TARGET_DIR: built,
      [`CARGO_TARGET_${target.toUpperCase().replaceAll('-', '_')}_LINKER`]: writeLinker(sysroot),
    },
  })
  if (code !== 0)
    throw new Failure(
      `The standard library did not build; the reason stands above.\n\n${whatToDo(target)}`,
    )
  const libraries = join(built, target, 'release/deps')
  const into = join(sysroot, 'lib/rustlib', target, 'lib')
  for (const file of readdirSync(libraries).filter((file) => file.endsWith('.rlib')))
    cpSync(join(libraries, file), join(into, file))
  if (target.endsWith('windows-gnu')) await startObjects(wrapper, target, sources, into)
  rmSync(built, { recursive: true, force: true })
  // what was compiled with another build of the library does not fit this one
  writeFileSync(join(sysroot, '.complete'), `${target} ${Date.now()}`)
  return wrapper
}

/**
 * The compiler for a target: `{ rustc }`, a path, or null for the one on PATH.
 *
 * @param target the target, as rustc names it
 * @param name of the library that is built where it is missing
 * @param features those of its crate `sysroot`
 * @param flags more options of rustc, which the installed library does not have: it is always built
 * @param tools variables with which the linker's tools of the target are found
 * @throws Failure where the library is missing and cannot be built
 */
export async function compilerFor(target, { name = target, features, flags = '', tools = {} }) {
  const libraries = await output('rustc', '--print', 'target-libdir', '--target', target)
  if (!flags && libraries && hasStd(libraries)) return { rustc: null }
  const debian = await candidate()
  if (!debian) throw new Failure(whatToDo(target))
  return { rustc: await buildStd(debian, { target, name, features, flags, tools }) }
}

/**
 * Empties a target folder of cargo that was used with another build of the library, which cargo
 * does not notice.
 */
export function prepareTarget(folder, { rustc }) {
  const library = rustc ? readText(join(dirname(rustc), '../.complete')) : 'installed'
  const mark = join(folder, '.library')
  if (existsSync(folder) && (!existsSync(mark) || readText(mark) !== library))
    rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(mark, library)
}

/** Whether a library can be built here. */
export const canBuildStd = async () => Boolean(await candidate())

/** The folder that PATH must start with for tools that call `rustc`; null for the one on PATH. */
export const folderOf = (compiler) => (compiler.rustc ? dirname(compiler.rustc) : null)
