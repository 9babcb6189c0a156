// Builds the native addon of a platform, as it is published, on any machine with Linux on x86-64.
import { copyFileSync, mkdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { artifact } from '../addon.mjs'
import { useKernels } from '../cuda/kernels.mjs'
import { cache, Failure, root, run, say } from '../lib.mjs'
import { PLATFORMS } from '../platforms.mjs'
import { compilerFor, folderOf, prepareTarget } from './rustc.mjs'
import { zig } from './zig.mjs'

/** What the crate `sysroot` of the standard library is built with. */
const FEATURES = 'panic-unwind backtrace compiler-builtins-mem'

/** How cargo is called for a platform: its environment, and the options that name the target. */
export async function cargoFor(platform) {
  const { target: name, glibc, flags = '' } = PLATFORMS[platform]
  const compiler = await compilerFor(name, { features: FEATURES })
  const tools = await zig()
  await useKernels()
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target')
  // cargo takes another compiler as a reason to build all anew
  const folder = join(target, compiler.rustc ? `cross-${platform}` : 'cross')
  prepareTarget(folder, compiler)
  return {
    env: {
      ...tools,
      ...(compiler.rustc && { RUSTC: compiler.rustc }),
      PATH: [folderOf(compiler), tools.PATH].filter(Boolean).join(delimiter),
      CARGO_TARGET_DIR: folder,
      RUSTFLAGS: flags,
    },
    target: ['--target', glibc ? `${name}.${glibc}` : name],
  }
}

/** Builds the addon for `platform`, of the table in platforms.mjs; gives its file in the cache. */
export async function buildAddon(platform) {
  if (!PLATFORMS[platform]?.target) {
    const known = Object.keys(PLATFORMS).filter((name) => PLATFORMS[name].target)
    throw new Failure(`${platform} cannot be built here; what can: ${known.join(', ')}.`)
  }
  const { env, target } = await cargoFor(platform)
  say(`Building the native addon for ${platform} (some minutes) ...`)
  const args = ['zigbuild', '--profile', 'dist', '-p', 'xt-node', ...target]
  const format = '--message-format=json-render-diagnostics'
  const { code, out } = await run('cargo-zigbuild', [...args, format], { stdout: 'capture', env })
  if (code !== 0) throw new Failure(`The addon for ${platform} did not build; see above.`)
  const folder = join(cache(), 'addons')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `x-transformers.${platform}.node`)
  copyFileSync(artifact(out), file)
  return file
}
