// Builds the CUDA driver for tests (crates/kernels/src/cuda/emulator) into the cache, by content.
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, hashOf, root, run } from '../lib.mjs'
import { kernelSources } from './kernels.mjs'

/** Whether this machine can run the emulated driver: its switch of fibers is written for x86-64. */
export const canEmulate = process.platform === 'linux' && process.arch === 'x64'

const FOLDER = 'crates/kernels/src/cuda/emulator'
const SOURCES = [`${FOLDER}/driver.cpp`, `${FOLDER}/fibers.cpp`]
const INCLUDES = [FOLDER, 'crates/kernels/src/cuda/include'].map((path) => `-I${join(root, path)}`)
const FLAGS = [
  '-std=c++17',
  '-O2',
  '-g',
  '-fPIC',
  '-shared',
  '-fvisibility=hidden',
  '-ftls-model=initial-exec',
  '-Wall',
]
const QUIET = ['-Wno-unused-variable', '-Wno-unknown-pragmas']
// cudarc opens and closes the library
const LINK = ['-Wl,-z,nodelete', '-Wl,-soname,libcuda.so.1']

/** The files of all kernels. */
export const kernelFiles = () => kernelSources().filter((path) => path.endsWith('.cu'))

/**
 * Builds the driver with these kernels as `file`. Headers are looked for in `headers` first;
 * `flags` are more options of the compiler.
 *
 * @throws Failure where the compiler says no
 */
export async function buildDriver(file, kernels, { headers = [], flags: more = [] } = {}) {
  const sources = [...SOURCES, '-x', 'c++', ...kernels]
  const includes = [...headers.map((folder) => `-I${folder}`), ...INCLUDES]
  const flags = [...FLAGS, ...more, ...QUIET, ...includes, ...LINK]
  const { code } = await run('c++', [...flags, '-o', file, ...sources])
  if (code !== 0)
    throw new Failure('The emulated CUDA driver could not be built: is g++ installed?')
}

/** The folder of the emulated driver's `libcuda.so.1`; builds it where it is missing. */
export async function emulatedDriver() {
  const folder = join(
    cache(),
    'cuda-emulator',
    hashOf([FOLDER, ...kernelSources(), 'scripts/cuda']),
  )
  const file = join(folder, 'libcuda.so.1')
  if (existsSync(file)) return folder
  mkdirSync(folder, { recursive: true })
  const unfinished = `${file}.${process.pid}`
  await buildDriver(unfinished, kernelFiles())
  renameSync(unfinished, file)
  return folder
}
