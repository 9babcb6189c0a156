// Builds the CUDA driver for tests (crates/kernels/src/cuda/emulator) into the cache, by content.
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, hashOf, root, run } from '../lib.mjs'
import { kernelSources } from './kernels.mjs'

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
  const kernels = kernelSources().filter((path) => path.endsWith('.cu'))
  const sources = [...SOURCES, '-x', 'c++', ...kernels]
  const flags = [...FLAGS, ...QUIET, ...INCLUDES, ...LINK]
  const { code } = await run('c++', [...flags, '-o', unfinished, ...sources])
  if (code !== 0)
    throw new Failure('The emulated CUDA driver could not be built: is g++ installed?')
  renameSync(unfinished, file)
  return folder
}
