// Builds the CUDA driver for tests (crates/kernels/src/cuda/emulator) into the cache, by content.
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, hashOf, root, run } from '../lib.mjs'

const SOURCES = ['crates/kernels/src/cuda/emulator/driver.cpp']
const FLAGS = ['-std=c++17', '-O2', '-g', '-fPIC', '-shared', '-fvisibility=hidden', '-Wall']
// cudarc opens and closes the library
const LINK = ['-Wl,-z,nodelete', '-Wl,-soname,libcuda.so.1']

/** The folder of the emulated driver's `libcuda.so.1`; builds it where it is missing. */
export async function emulatedDriver() {
  const folder = join(cache(), 'cuda-emulator', hashOf([...SOURCES, 'scripts/cuda']))
  const file = join(folder, 'libcuda.so.1')
  if (existsSync(file)) return folder
  mkdirSync(folder, { recursive: true })
  const unfinished = `${file}.${process.pid}`
  const sources = SOURCES.map((path) => join(root, path))
  const { code } = await run('c++', [...FLAGS, ...LINK, '-o', unfinished, ...sources])
  if (code !== 0)
    throw new Failure('The emulated CUDA driver could not be built: is g++ installed?')
  renameSync(unfinished, file)
  return folder
}
