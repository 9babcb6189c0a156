// A rustc that has a standard library for wasm32-unknown-unknown: the installed one where it has
// the target, else Debian's rustc for browsers, unpacked into the cache (nothing is installed on
// the system), for which the library is built from its sources.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { cache, Failure, onPath, run, say } from '../lib.mjs'

export const TARGET = 'wasm32-unknown-unknown'

/** What the threaded build needs of the standard library too. */
export const THREAD_FEATURES = '-Ctarget-feature=+atomics,+bulk-memory,+mutable-globals,+simd128'

const HOST = 'x86_64-unknown-linux-gnu'
const OLDEST = [1, 96]

const WHAT_TO_DO = `The standard library of Rust for ${TARGET} is missing. Add it and run this again:

  rustup target add ${TARGET}`

const output = async (program, ...args) => {
  const { code, out } = await run(program, args, { stdout: 'capture' })
  return code === 0 ? out.trim() : ''
}

const hasStd = (folder) =>
  existsSync(folder) && readdirSync(folder).some((name) => /^libstd-.*\.rlib$/.test(name))

/** Folder of cached downloads and builds; also marks what is complete. */
const place = () => join(cache(), 'wasm-std')

async function candidate() {
  if (
    process.platform !== 'linux' ||
    process.arch !== 'x64' ||
    !onPath('apt-get') ||
    !onPath('dpkg')
  )
    return null
  const policy = await output('apt-cache', 'policy', 'rustc-web')
  const version = policy.match(/Candidate: (?:\d+:)?((\d+)\.(\d+)\.\d+)/)
  if (!version) return null
  const [major, minor] = [Number(version[2]), Number(version[3])]
  return major > OLDEST[0] || minor >= OLDEST[1]
    ? { version: version[1], minor: `${major}.${minor}` }
    : null
}

/** The packages' .deb files, into `folder`. */
async function download({ minor }, folder) {
  const names = ['rustc-web', `libstd-rust-web-${minor}`, 'libstd-rust-web-dev', 'rust-web-src']
  // the version of LLVM that this rustc was linked with
  const depends = await output('apt-cache', 'depends', `libstd-rust-web-${minor}`)
  const llvm = depends.match(/libllvm\d+/)?.[0]
  if (llvm) names.push(llvm)
  const { code } = await run('apt-get', ['download', ...names], { cwd: folder })
  if (code !== 0)
    throw new Failure(`apt-get could not download ${names.join(', ')}.\n\n${WHAT_TO_DO}`)
}

/** Unpacks Debian's rustc for browsers; gives the `usr` folder. */
async function unpacked(debian) {
  const prefix = join(place(), `rustc-web-${debian.version}`)
  const usr = join(prefix, 'usr')
  if (existsSync(join(prefix, '.complete'))) return usr
  say(`Unpacking Debian's rustc ${debian.version} for ${TARGET} into the cache ...`)
  rmSync(prefix, { recursive: true, force: true })
  const debs = join(prefix, 'debs')
  mkdirSync(debs, { recursive: true })
  await download(debian, debs)
  for (const deb of readdirSync(debs)) {
    const { code } = await run('dpkg', ['-x', join(debs, deb), prefix])
    if (code !== 0) throw new Failure(`dpkg could not unpack ${deb}.`)
  }
  rmSync(debs, { recursive: true })
  await linkLinker(usr)
  writeFileSync(join(prefix, '.complete'), '')
  return usr
}

/** rustup's rustc brings the linker for wasm; Debian's expects it at the same place. */
async function linkLinker(usr) {
  const sysroot = await output('rustc', '--print', 'sysroot')
  const lld = [
    join(sysroot, 'lib/rustlib', HOST, 'bin/rust-lld'),
    onPath('rust-lld'),
    onPath('wasm-ld'),
    onPath('lld'),
  ]
  const found = lld.find((path) => path && existsSync(path))
  if (!found)
    throw new Failure(`No linker for wasm (rust-lld, wasm-ld) was found.\n\n${WHAT_TO_DO}`)
  const folder = join(usr, 'lib/rustlib', HOST, 'bin')
  mkdirSync(folder, { recursive: true })
  symlinkSync(found, join(folder, 'rust-lld'))
}

/** A script named `rustc` that runs Debian's compiler with a library folder of our own. */
function writeWrapper(usr, sysroot) {
  const folder = join(sysroot, 'wrapper')
  mkdirSync(folder, { recursive: true })
  const libraries = join(usr, 'lib/x86_64-linux-gnu')
  const rustc = join(usr, 'bin/rustc')
  const text = `#!/bin/sh\nLD_LIBRARY_PATH='${libraries}' exec '${rustc}' --sysroot '${sysroot}' "$@"\n`
  writeFileSync(join(folder, 'rustc'), text)
  chmodSync(join(folder, 'rustc'), 0o755)
  return join(folder, 'rustc')
}

/**
 * A sysroot that shares the host's part with the unpacked packages and has a wasm part of its own.
 */
function makeSysroot(usr, sysroot) {
  rmSync(sysroot, { recursive: true, force: true })
  const rustlib = join(sysroot, 'lib/rustlib')
  mkdirSync(join(rustlib, TARGET, 'lib'), { recursive: true })
  symlinkSync(join(usr, 'lib/rustlib', HOST), join(rustlib, HOST))
}

async function buildStd(usr, debian, sysroot, features) {
  const wrapper = join(sysroot, 'wrapper/rustc')
  if (existsSync(join(sysroot, '.complete'))) return wrapper
  say(
    `Building Rust's standard library for ${TARGET}${features ? ' with threads' : ''} (a minute) ...`,
  )
  makeSysroot(usr, sysroot)
  writeWrapper(usr, sysroot)
  const target = join(sysroot, 'target')
  const flags = `-Cembed-bitcode=yes -Zforce-unstable-if-unmarked --cfg=windows_raw_dylib ${features}`
  const args = ['build', '--release', '-Zavoid-dev-deps', '--target', TARGET, '-p', 'sysroot']
  const { code } = await run(
    'cargo',
    [...args, '--features', 'compiler-builtins-mem', '--target-dir', target],
    {
      cwd: join(usr, 'src', `rustc-${debian.version}`, 'library'),
      env: {
        RUSTC: wrapper,
        RUSTC_BOOTSTRAP: '1',
        __CARGO_DEFAULT_LIB_METADATA: 'stablestd',
        RUSTFLAGS: flags.trim(),
        CARGO_TARGET_DIR: target,
      },
    },
  )
  if (code !== 0)
    throw new Failure(
      `The standard library did not build; the reason stands above.\n\n${WHAT_TO_DO}`,
    )
  const built = join(target, TARGET, 'release/deps')
  for (const name of readdirSync(built).filter((name) => name.endsWith('.rlib'))) {
    cpSync(join(built, name), join(sysroot, 'lib/rustlib', TARGET, 'lib', name))
  }
  rmSync(target, { recursive: true, force: true })
  writeFileSync(join(sysroot, '.complete'), '')
  return wrapper
}

/**
 * The compiler for a build: `{ rustc }`, a path, or null for the one on PATH. The threaded build
 * needs a library that was built with atomics, which no toolchain brings: null where it cannot be
 * had.
 */
export async function wasmCompiler({ threads }) {
  const libraries = await output('rustc', '--print', 'target-libdir', '--target', TARGET)
  if (!threads && libraries && hasStd(libraries)) return { rustc: null }
  const debian = await candidate()
  if (!debian) {
    if (threads) return null
    throw new Failure(WHAT_TO_DO)
  }
  const usr = await unpacked(debian)
  const name = `${threads ? 'threads' : 'plain'}-${debian.version}`
  return { rustc: await buildStd(usr, debian, join(place(), name), threads ? THREAD_FEATURES : '') }
}

export const folderOf = (compiler) => (compiler.rustc ? dirname(compiler.rustc) : null)
