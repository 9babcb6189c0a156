/** What this machine has, and what is missing: `x-transformers doctor`. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import { dirname, join } from 'node:path'
import type { CudaInfo, RuntimeInfo } from 'x-transformers'
import type { DoctorSettings } from './commands/doctor.js'
import { EXIT } from './errors.js'
import { bytes, table } from './format.js'
import { Output } from './output.js'
import { packageRoot, packageVersion } from './root.js'

/** Packages that some functions need, and what for. */
const OPTIONAL = {
  '@huggingface/jinja': 'chat templates',
  '@huggingface/tokenizers': 'tokenizers of Hugging Face',
  sharp: 'images from files',
}

/** Instructions that the kernels use where the processor has them. */
const FEATURES = /^(sse4_2|avx|avx2|fma|f16c|avx512f|avx512bw|avx512_bf16|amx_tile|asimd|sve)$/

interface Report {
  version: string
  node: string
  platform: string
  libc: string | null
  processor: { model: string; count: number; features: string[] | null }
  memory: { total: number; available: number }
  backend: (RuntimeInfo & { addon: string | null }) | { error: string }
  cuda: CudaInfo | null
  optional: Record<string, string | null>
}

export async function doctor({ json }: DoctorSettings): Promise<void> {
  const output = new Output(json)
  const report = await examine()
  output.result(report, render(report))
  if ('error' in report.backend) process.exitCode = EXIT.failure
}

async function examine(): Promise<Report> {
  const require = createRequire(`${packageRoot()}/package.json`)
  const { backend, cuda } = await computing(require)
  const cpus = os.cpus()
  return {
    version: packageVersion(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    libc: libc(),
    processor: {
      model: cpus[0]?.model.trim() ?? 'unknown',
      count: os.availableParallelism(),
      features: features(),
    },
    memory: { total: os.totalmem(), available: available() },
    backend,
    cuda,
    optional: Object.fromEntries(
      Object.keys(OPTIONAL).map((name) => [name, versionOf(name, require)]),
    ),
  }
}

/** What the library computes with, or why it cannot. */
async function computing(require: NodeJS.Require): Promise<Pick<Report, 'backend' | 'cuda'>> {
  try {
    const { cudaInfo, info } = await import('x-transformers')
    const addon = Object.keys(require.cache).find((path) => path.endsWith('.node')) ?? null
    return { backend: { ...info(), addon }, cuda: cudaInfo() }
  } catch (error) {
    return { backend: { error: (error as Error).message }, cuda: null }
  }
}

function libc(): string | null {
  if (process.platform !== 'linux') return null
  const { header } = process.report.getReport() as {
    header: { glibcVersionRuntime?: string }
  }
  const { glibcVersionRuntime: version } = header
  return version ? `glibc ${version}` : 'musl'
}

const readText = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** Null where the system does not tell. */
function features(): string[] | null {
  const line = readText('/proc/cpuinfo')?.match(/^(?:flags|Features)\s*:(.*)$/m)?.[1]
  return line?.split(' ').filter((flag) => FEATURES.test(flag)) ?? null
}

/** What Linux could free counts too. */
function available(): number {
  const line = readText('/proc/meminfo')?.match(/^MemAvailable:\s+(\d+) kB$/m)?.[1]
  return line ? Number(line) * 1024 : os.freemem()
}

/** By the package's description, which it may not export: above what it does export. */
function versionOf(name: string, require: NodeJS.Require): string | null {
  try {
    for (let folder = dirname(require.resolve(name)); ; folder = dirname(folder)) {
      const manifest = JSON.parse(readText(join(folder, 'package.json')) ?? '{}')
      if (manifest.name === name) return manifest.version
      if (folder === dirname(folder)) return null
    }
  } catch {
    return null
  }
}

function render(report: Report): string {
  const { processor, memory, backend, cuda, optional } = report
  const flags = processor.features?.length ? ` (${processor.features.join(' ')})` : ''
  const rows = [
    ['x-transformers', report.version],
    ['Node', report.node],
    ['platform', [report.platform, report.libc].filter(Boolean).join(', ')],
    ['processor', `${processor.count} x ${processor.model}${flags}`],
    ['memory', `${bytes(memory.available)} of ${bytes(memory.total)} available`],
    ...backendRows(backend),
    ['GPU', describeGpu(cuda)],
    ...Object.entries(OPTIONAL).map(([name, use]) => [
      name,
      optional[name] ?? `not installed; for ${use}: npm install ${name}`,
    ]),
  ]
  return table(rows)
}

function backendRows(backend: Report['backend']): string[][] {
  if ('error' in backend) return [['backend', `none: ${backend.error}`]]
  const { target, addon, threads, threads_reason, build } = backend
  const kind = target === 'native' ? 'native addon' : `WebAssembly (${build})`
  return [
    ['backend', addon && target === 'native' ? `${kind}, ${addon}` : kind],
    ['threads', threads_reason ? `${threads}: ${threads_reason}` : String(threads)],
  ]
}

function describeGpu(cuda: CudaInfo | null): string {
  if (!cuda) return 'unknown'
  if (!cuda.available) return `none: ${cuda.reason}`
  const names = cuda.devices.map(({ index, name, memory_bytes, reason }) => {
    const state = reason ? `cannot be used: ${reason}` : bytes(memory_bytes)
    return `cuda:${index} ${name} (${state})`
  })
  return `${names.join(', ')}; CUDA ${cuda.driver}`
}
