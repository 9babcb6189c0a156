// Runs programs for Linux with musl on Debian: its loader, and a C++ library that is built with it.
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, onPath, run, say } from '../lib.mjs'
import { unpacked } from './debian.mjs'

/** Debian's name, and that of wheels and of the loader, by Node's. */
const ARCHITECTURES = {
  x64: { debian: 'amd64', name: 'x86_64' },
  arm64: { debian: 'arm64', name: 'aarch64' },
}

/** Debian has no C++ library for musl; this wheel carries one, under names with a hash. */
async function libraries(name) {
  const folder = join(cache(), `musl-libraries-${name}`)
  if (existsSync(folder)) return folder
  const python = onPath('python3')
  if (!python) throw new Failure('Python 3 with pip is needed: it fetches a C++ library for musl.')
  say('Fetching a C++ library for musl ...')
  const unfinished = `${folder}.${process.pid}`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  // it is not for the Python that runs pip
  const python312 = ['--python-version', '3.12', '--ignore-requires-python']
  const args = ['--only-binary', ':all:', '--no-deps', '--platform', `musllinux_1_2_${name}`]
  const { code } = await run(python, [
    ...['-m', 'pip', 'install', '--quiet', '--no-cache-dir', '--disable-pip-version-check'],
    ...['--root-user-action=ignore', ...args, ...python312, '--target', unfinished, 'numpy==2.5.5'],
  ])
  const wheel = join(unfinished, 'numpy.libs')
  if (code !== 0 || !existsSync(wheel)) throw new Failure('pip could not fetch it.')
  for (const file of readdirSync(wheel)) {
    if (file.startsWith('libstdc++')) copyFileSync(join(wheel, file), join(wheel, 'libstdc++.so.6'))
    if (file.startsWith('libgcc_s')) copyFileSync(join(wheel, file), join(wheel, 'libgcc_s.so.1'))
  }
  renameSync(unfinished, folder)
  return folder
}

/** What runs a program for an architecture of Node's: the loader and its arguments. */
export async function musl(arch) {
  const { debian, name } = ARCHITECTURES[arch]
  // the loader of Debian 12, 1.2.3, is too old for Bun
  const folder = await unpacked(`musl-${arch}`, [`musl:${debian}`], { suite: 'trixie', debian })
  const loader = join(folder, `usr/lib/ld-musl-${name}.so.1`)
  return [loader, '--library-path', join(await libraries(name), 'numpy.libs')]
}
