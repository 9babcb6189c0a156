// cargo-zigbuild, with zig as the C compiler and linker for other platforms: it brings the C
// libraries of all of them, and links against the oldest glibc that is asked for. Both come from
// PyPI, into the cache.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { cache, Failure, onPath, run, say } from '../lib.mjs'
import { writeScript } from './script.mjs'

const PACKAGES = ['ziglang==0.17.1', 'cargo-zigbuild==0.24.1']

/** The variables with which `cargo-zigbuild` is found, and finds zig. */
export async function zig() {
  const folder = join(cache(), 'zig', PACKAGES.join(',').replaceAll('==', '-'))
  if (!existsSync(folder)) {
    const python = onPath('python3') ?? onPath('python')
    if (!python) throw new Failure('Python 3 with pip is needed: it fetches zig, which links.')
    say(`Fetching ${PACKAGES.join(' and ')} (100 MB, once) ...`)
    const unfinished = `${folder}.${process.pid}`
    rmSync(unfinished, { recursive: true, force: true })
    mkdirSync(unfinished, { recursive: true })
    const pip = ['-m', 'pip', 'install', '--no-deps', '--no-cache-dir', '--target', unfinished]
    const quiet = ['--quiet', '--disable-pip-version-check', '--root-user-action=ignore']
    const { code } = await run(python, [...pip, ...quiet, '--only-binary', ':all:', ...PACKAGES])
    if (code !== 0) {
      rmSync(unfinished, { recursive: true, force: true })
      throw new Failure(`pip could not fetch ${PACKAGES.join(' and ')}.`)
    }
    // by this name rustc calls the tool that makes import libraries of Windows
    const dlltool = join(unfinished, 'bin/x86_64-w64-mingw32-dlltool')
    writeScript(dlltool, `exec '${join(folder, 'bin/cargo-zigbuild')}' zig dlltool -- "$@"`)
    renameSync(unfinished, folder)
  }
  return {
    PATH: [join(folder, 'bin'), process.env.PATH].join(delimiter),
    CARGO_ZIGBUILD_ZIG_PATH: join(folder, 'ziglang', 'zig'),
  }
}
