// Builds the WebAssembly modules when they are missing or stale, into ts/wasm/pkg.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { folderOf, prepareTarget } from '../cross/rustc.mjs'
import { cache, Failure, hashOf, readText, root, run, say } from '../lib.mjs'
import { TARGET, THREAD_FEATURES, wasmCompiler } from './std.mjs'
import { writeStub } from './stub.mjs'
import { wasmTools } from './tools.mjs'

const SOURCES = [
  'crates',
  'Cargo.toml',
  'Cargo.lock',
  '.cargo',
  'rust-toolchain.toml',
  'scripts/wasm',
  'scripts/cross/rustc.mjs',
]

const PAGES = 65536
const PAGE_BYTES = 65536

/** What the linker must export and import for a memory that threads share. */
const SHARED_MEMORY = [
  '--shared-memory',
  `--max-memory=${PAGES * PAGE_BYTES}`,
  '--import-memory',
  ...['__wasm_init_tls', '__tls_size', '__tls_align', '__tls_base'].map(
    (name) => `--export=${name}`,
  ),
].map((argument) => `-Clink-arg=${argument}`)

/**
 * The builds. `plain` runs wherever there is SIMD; `relaxed` is faster where a multiplication and
 * an addition may be one instruction; `threads` needs a page that may share memory.
 */
const VARIANTS = {
  plain: { glue: 'single.js', file: 'x-transformers.wasm', flags: ['-Ctarget-feature=+simd128'] },
  relaxed: {
    glue: 'single.js',
    file: 'x-transformers.relaxed.wasm',
    flags: ['-Ctarget-feature=+simd128,+relaxed-simd'],
  },
  threads: {
    glue: 'threads.js',
    file: 'x-transformers.threads.wasm',
    threads: true,
    flags: [`${THREAD_FEATURES},+relaxed-simd`, ...SHARED_MEMORY],
  },
}

const PKG = join(root, 'ts/wasm/pkg')
const stampOf = (variant) => join(PKG, `.${variant}.stamp`)

/** wasm-pack adds targets by itself, through rustup: here it finds one that only says no. */
function noRustup() {
  const folder = join(cache(), 'no-rustup')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'rustup')
  writeFileSync(file, '#!/bin/sh\necho "no toolchain is changed here: $*" >&2\nexit 1\n')
  chmodSync(file, 0o755)
  return folder
}

async function pack(variant, { flags, threads = false }, compiler) {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target')
  const folders = [folderOf(compiler), noRustup(), ...(await wasmTools())].filter(Boolean)
  const env = {
    ...(compiler.rustc && { RUSTC: compiler.rustc }),
    ...(threads && { RUSTC_BOOTSTRAP: '1' }),
    PATH: [...folders, process.env.PATH].join(delimiter),
    CARGO_TARGET_DIR: join(target, `wasm-${variant}`),
    [`CARGO_TARGET_${TARGET.toUpperCase().replaceAll('-', '_')}_RUSTFLAGS`]: flags.join(' '),
  }
  prepareTarget(env.CARGO_TARGET_DIR, compiler)
  const out = join(env.CARGO_TARGET_DIR, 'pkg')
  const args = [
    'build',
    join(root, 'crates/wasm'),
    '--mode',
    'no-install',
    '--no-opt',
    '--target',
    'web',
    '--no-pack',
  ]
  const names = [
    '--no-typescript',
    '--out-dir',
    out,
    '--out-name',
    'x_transformers',
    '--profile',
    'wasm',
  ]
  const features = threads ? ['--', '--features', 'threads'] : []
  const { code } = await run('wasm-pack', [...args, ...names, ...features], { env })
  if (code !== 0)
    throw new Failure(`The WebAssembly module (${variant}) did not build; the reason stands above.`)
  return out
}

/** Puts the module and its JavaScript where the TypeScript expects them. */
function place(variant, { glue, file }, out) {
  const text = readFileSync(join(out, 'x_transformers.js'), 'utf8')
  // `plain` and `relaxed` differ in instructions only: one file of JavaScript serves both
  const twin = Object.keys(VARIANTS).find(
    (v) => v !== variant && VARIANTS[v].glue === glue && existsSync(stampOf(v)),
  )
  const before = readText(join(PKG, glue))
  if (twin && before && before !== text && readText(stampOf(twin)) === hashOf(SOURCES)) {
    throw new Failure(
      `The JavaScript of the WebAssembly modules ${variant} and ${twin} differs; it must be equal.`,
    )
  }
  mkdirSync(PKG, { recursive: true })
  writeFileSync(join(PKG, glue), text)
  copyFileSync(join(out, 'x_transformers_bg.wasm'), join(PKG, file))
}

async function ensureVariant(variant, hash) {
  const stamp = stampOf(variant)
  if (readText(stamp) === hash) return
  const settings = VARIANTS[variant]
  const compiler = await wasmCompiler({ threads: settings.threads ?? false })
  if (!compiler) {
    say(
      `The WebAssembly build with threads is left out: it needs Debian's rustc-web here. Pages then use one thread.`,
    )
    rmSync(stamp, { force: true })
    writeStub()
    return
  }
  say(`Building the WebAssembly module: ${variant} ...`)
  rmSync(stamp, { force: true })
  place(variant, settings, await pack(variant, settings, compiler))
  writeFileSync(stamp, hash)
}

export async function ensureWasm(variants = Object.keys(VARIANTS)) {
  const hash = hashOf(SOURCES)
  for (const variant of variants) {
    if (!VARIANTS[variant])
      throw new Failure(
        `There is no variant ${variant}; there is: ${Object.keys(VARIANTS).join(', ')}.`,
      )
    await ensureVariant(variant, hash)
  }
}
