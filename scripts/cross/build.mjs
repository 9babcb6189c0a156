// Builds the native addon of a platform as it is published: on the platform itself, or on Linux on
// x86-64 for another one.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { artifact } from '../addon.mjs'
import { useKernels } from '../cuda/kernels.mjs'
import { cache, Failure, root, run, say } from '../lib.mjs'
import { PLATFORMS, STAND_INS, triple } from '../platforms.mjs'
import { compilerFor, folderOf, prepareTarget } from './rustc.mjs'
import { zig } from './zig.mjs'

/** What the crate `sysroot` of the standard library is built with. */
const FEATURES = 'panic-unwind backtrace compiler-builtins-mem'

const targetFolder = () => process.env.CARGO_TARGET_DIR ?? join(root, 'target')

/**
 * Empty libraries, for Windows' GNU linker. The addon finds the functions of Node, which napi-build
 * asks for, when it is loaded; zig brings what is in the other one, which rustc asks for.
 */
function emptyLibraries() {
  const folder = join(cache(), 'empty-libraries')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'libnode.dll'), '')
  for (const name of ['libnode.a', 'libnode.dll.a', 'libssp_nonshared.a'])
    writeFileSync(join(folder, name), '!<arch>\n')
  return folder
}

async function cargoWithZig(platform) {
  const { target: name, glibc, flags = '' } = { ...PLATFORMS, ...STAND_INS }[platform]
  const libraries = name.endsWith('windows-gnu') ? emptyLibraries() : null
  const tools = await zig()
  const compiler = await compilerFor(name, { features: FEATURES, tools })
  // cargo takes another compiler as a reason to build all anew
  const folder = join(targetFolder(), compiler.rustc ? `cross-${platform}` : 'cross')
  prepareTarget(folder, compiler)
  return {
    program: 'cargo-zigbuild',
    command: 'zigbuild',
    env: {
      ...tools,
      ...(compiler.rustc && { RUSTC: compiler.rustc }),
      ...(libraries && {
        LIBNODE_PATH: libraries,
        // zig refuses mimalloc's date of the build
        CFLAGS_x86_64_pc_windows_gnu: '-Wno-error=date-time',
      }),
      PATH: [folderOf(compiler), tools.PATH].filter(Boolean).join(delimiter),
      CARGO_TARGET_DIR: folder,
      RUSTFLAGS: libraries ? `-Lnative=${libraries}` : flags,
    },
    target: ['--target', glibc ? `${name}.${glibc}` : name],
  }
}

/** Whether zig links for the platform: only Linux has several C libraries, and versions of them. */
const needsZig = (platform) => platform !== triple() || process.platform === 'linux'

/**
 * How cargo is called for a platform: the program, its command that builds, its environment, and
 * the options that name the target.
 */
export async function cargoFor(platform) {
  await useKernels()
  if (!needsZig(platform)) return { program: 'cargo', command: 'build', env: {}, target: [] }
  if ({ ...PLATFORMS, ...STAND_INS }[platform]?.target) return await cargoWithZig(platform)
  const known = Object.entries({ ...PLATFORMS, ...STAND_INS }).filter(([, { target }]) => target)
  const names = known.map(([name]) => name).join(', ')
  throw new Failure(`${platform} cannot be built on this machine; what can: ${names}.`)
}

/** Builds the addon for `platform`; gives its file in the cache. */
export async function buildAddon(platform) {
  const { program, command, env, target } = await cargoFor(platform)
  say(`Building the native addon for ${platform} (some minutes) ...`)
  const args = [command, '--profile', 'dist', '-p', 'xt-node', ...target]
  const format = '--message-format=json-render-diagnostics'
  const { code, out } = await run(program, [...args, format], { stdout: 'capture', env })
  if (code !== 0) throw new Failure(`The addon for ${platform} did not build; see above.`)
  const folder = join(cache(), 'addons')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `x-transformers.${platform}.node`)
  copyFileSync(artifact(out), file)
  return file
}
