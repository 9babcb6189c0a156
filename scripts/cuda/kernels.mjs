// Compiles the CUDA kernels (crates/kernels/src/**/*.cu) into the cache, by content, with NVRTC of
// CUDA 12.4. Without Python, or where NVRTC cannot be fetched, the addon is built without kernels.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, hashOf, onPath, root, run, say } from '../lib.mjs'
import { fetchWheels } from '../pip.mjs'

const WHEEL = 'nvidia-cuda-nvrtc-cu12==12.4.127'
const SOURCES = 'crates/kernels/src'
const HEADERS = 'crates/kernels/src/cuda/include'

/** Files of the kernels, relative to the root. */
export function kernelSources() {
  const files = readdirSync(join(root, SOURCES), { recursive: true })
  return files
    .filter((file) => /\.cuh?$/.test(file))
    .map((file) => `${SOURCES}/${file.replaceAll('\\', '/')}`)
    .sort()
}

/** NVRTC's library in `folder`, where it was unpacked. */
function libraryIn(folder) {
  if (!existsSync(folder)) return null
  const files = readdirSync(folder, { recursive: true })
  const name = files.find((file) => /(libnvrtc\.so\.12|nvrtc64_\d+_0\.dll)$/.test(file))
  return name ? join(folder, name) : null
}

/** NVRTC's library, from its wheel; null where it cannot be had. */
async function nvrtc(python) {
  const folder = join(cache(), 'nvrtc', WHEEL.split('==')[1])
  const found = libraryIn(folder)
  if (found) return found
  say(`Fetching ${WHEEL}, which compiles the CUDA kernels (25 MB, once) ...`)
  const whole = (at) => libraryIn(at) !== null
  return (await fetchWheels(python, folder, [WHEEL], whole)) ? libraryIn(folder) : null
}

/** The folder of the compiled kernels; null, with a message, where they cannot be compiled. */
export async function compiledKernels() {
  const files = kernelSources()
  const key = hashOf([...files, 'scripts/cuda/nvrtc.py'], WHEEL)
  const folder = join(cache(), 'cuda-kernels', key)
  if (existsSync(folder)) return folder
  // there is no NVRTC for macOS, and no CUDA either
  if (process.platform === 'darwin') return null
  const python = onPath('python3') ?? onPath('python')
  const library = python && (await nvrtc(python))
  if (!library) {
    const missing = python ? `pip could not fetch ${WHEEL}` : 'there is no Python 3 on PATH'
    say(`The addon is built without CUDA kernels, since ${missing}. GPUs then cannot be used.`)
    return null
  }
  const unfinished = `${folder}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  const sources = files.filter((file) => file.endsWith('.cu'))
  const script = join(root, 'scripts/cuda/nvrtc.py')
  const { code } = await run(python, [script, library, unfinished, HEADERS, ...sources])
  if (code !== 0) {
    rmSync(unfinished, { recursive: true, force: true })
    throw new Failure('The CUDA kernels did not compile; the reason stands above.')
  }
  renameSync(unfinished, folder)
  const kernels = kernelUsage(folder)
  const most = Math.max(...kernels.map(({ registers }) => registers))
  const spills = kernels.filter(({ spill_bytes }) => spill_bytes > 0)
  const names = spills.length ? `: ${spills.map(({ name }) => name).join(', ')}` : ''
  say(`${kernels.length} CUDA kernels, ${most} registers at most, ${spills.length} spill${names}`)
  return folder
}

/**
 * Registers of a thread, bytes of spills and of shared memory of each kernel, for each architecture
 * it was assembled for.
 */
export function kernelUsage(folder) {
  const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
  return Object.values(report).flatMap((file) =>
    Object.entries(file).flatMap(([architecture, kernels]) =>
      Object.entries(kernels).map(([name, usage]) => ({ architecture, name, ...usage })),
    ),
  )
}

/**
 * Lets every build of the crates embed the kernels: cargo reads the variable in each, so that none
 * of them throws the result of another away.
 */
export async function useKernels() {
  process.env.XT_CUDA_KERNELS ??= (await compiledKernels()) ?? ''
}
