// Runs programs for Windows on Linux, by Wine, which is unpacked into the cache.
import {
  cpSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, run, say } from '../lib.mjs'
import { unpacked } from './debian.mjs'
import { writeScript } from './script.mjs'
import { zig } from './zig.mjs'

const PACKAGES = ['wine64', 'libwine', 'libz-mingw-w64', 'libunwind8']

/** A library of Windows 10 that Rust needs: the one function it calls, by an older function. */
const RANDOM = `#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) {
  for (SIZE_T at = 0; at < size; at += 256)
    if (!SystemFunction036(data + at, size - at < 256 ? size - at : 256)) return FALSE;
  return TRUE;
}
`

async function buildRandom(into) {
  const { CARGO_ZIGBUILD_ZIG_PATH: program } = await zig()
  const source = join(into, 'random.c')
  writeFileSync(source, RANDOM)
  const args = ['cc', '-target', 'x86_64-windows-gnu', '-shared', '-O1', source, '-ladvapi32']
  const { code } = await run(program, [...args, '-o', join(into, 'bcryptprimitives.dll')])
  if (code !== 0) throw new Failure('zig could not build a library for Wine.')
}

/**
 * Writes the script that runs a program for Windows; `prefix` is the folder of its drive C:.
 * Windows' Node cannot write to a pipe of Wine, hence the files.
 */
function writeLauncher(wine, prefix, file) {
  const usr = join(wine, 'usr')
  return writeScript(
    file,
    `export LD_LIBRARY_PATH='${usr}/lib/x86_64-linux-gnu' WINESERVER='${usr}/lib/wine/wineserver64'
export WINEPREFIX='${prefix}' WINEDEBUG=-all
said=$(mktemp -d)
'${usr}/lib/wine/wine64' "$@" >"$said/out" 2>"$said/error"
code=$?
cat "$said/out"
cat "$said/error" >&2
rm -r "$said"
exit $code`,
  )
}

/** Makes the folder of the drive C:. */
async function makePrefix(wine, prefix) {
  say('Setting up Wine ...')
  const unfinished = `${prefix}.${process.pid}`
  const system = join(unfinished, 'drive_c/windows/system32')
  mkdirSync(system, { recursive: true })
  cpSync(join(wine, 'usr/x86_64-w64-mingw32/lib/zlib1.dll'), join(system, 'zlib1.dll'))
  const launcher = writeLauncher(wine, unfinished, join(unfinished, 'wine'))
  // the second because Node refuses the version of Windows that this Wine is otherwise
  for (const args of ['wineboot -i', 'winecfg -v win10', 'wineboot -s']) {
    const { code } = await run(launcher, args.split(' '), { stdout: 'capture' })
    if (code !== 0) throw new Failure(`Wine: ${args} failed.`)
  }
  await buildRandom(system)
  renameSync(unfinished, prefix)
}

/** Debian's `wineserver` is a script that looks for the server in the system's folders. */
function linkServer(folder) {
  const server = join(folder, 'usr/lib/wine/wineserver')
  rmSync(server)
  symlinkSync('wineserver64', server)
}

/** The script that runs a program for Windows on x86-64. */
export async function wine() {
  const folder = await unpacked('wine', PACKAGES, { finish: linkServer })
  const prefix = join(cache(), 'wine')
  if (!existsSync(prefix)) await makePrefix(folder, prefix)
  return writeLauncher(folder, prefix, join(prefix, 'wine'))
}
