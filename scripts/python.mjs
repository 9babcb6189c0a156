// `npm run python`: sets up the Python package x-transformers 1.9.2, with PyTorch, in the cache,
// for test/node/python.test.ts. PyTorch is large (some gigabytes on Linux, where its wheel brings
// CUDA's libraries), so that nothing else asks for it.
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Failure, onPath, root, run, say } from './lib.mjs'

const PACKAGES = ['torch', 'numpy', 'safetensors', 'einops', 'x-transformers==1.9.2']

/** The newest version and what it needs besides PyTorch, which it shares with 1.9.2. */
const NEWEST = [
  'x-transformers',
  'einops',
  'einx',
  'loguru',
  'packaging',
  'torch-einops-utils',
  'frozendict',
]

// not by `cache()`, which makes the folder: a test only looks
const folder = () => resolve(process.env.XT_CACHE ?? join(root, '.cache'), 'python')
const inside = (name) =>
  join(folder(), process.platform === 'win32' ? `Scripts/${name}.exe` : `bin/${name}`)
/** Written at the end: a folder without it is of an attempt that broke off. */
const ready = () => join(folder(), 'ready')

/**
 * A Python that has the package: the one that `npm run python` has set up, or that XT_PYTHON names;
 * null where there is none.
 */
export function pythonPath() {
  if (process.env.XT_PYTHON) return process.env.XT_PYTHON
  return existsSync(ready()) ? inside('python') : null
}

async function step(program, ...args) {
  const { code } = await run(program, args)
  if (code !== 0)
    throw new Failure(`${[program, ...args].join(' ')} failed; the reason stands above.`)
}

/**
 * Where the newest x-transformers lies, beside 1.9.2 of the environment: for PYTHONPATH. Installed
 * where it is missing.
 */
export async function newestPath() {
  const at = resolve(folder(), '../python-newest')
  const done = join(at, 'ready')
  if (existsSync(done)) return at
  rmSync(at, { recursive: true, force: true })
  say(`Installing ${NEWEST.join(', ')} ...`)
  const install = [
    '-m',
    'pip',
    'install',
    '--no-cache-dir',
    '--progress-bar',
    'off',
    '--no-deps',
    '--target',
    at,
  ]
  await step(pythonPath() ?? inside('python'), ...install, ...NEWEST)
  writeFileSync(done, NEWEST.join('\n'))
  return at
}

export async function setUp() {
  const python = onPath('python3') ?? onPath('python')
  if (!python) throw new Failure('There is no python3 on PATH: install Python 3.10 or newer.')
  rmSync(folder(), { recursive: true, force: true })
  await step(python, '-m', 'venv', folder())
  say(`Installing ${PACKAGES.join(', ')} (minutes, and gigabytes on Linux) ...`)
  await step(
    inside('python'),
    '-m',
    'pip',
    'install',
    '--no-cache-dir',
    '--progress-bar',
    'off',
    ...PACKAGES,
  )
  await step(
    inside('python'),
    '-c',
    'import torch, safetensors, x_transformers; print("PyTorch", torch.__version__)',
  )
  writeFileSync(ready(), PACKAGES.join('\n'))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    if (pythonPath()) say(`It is there: ${pythonPath()}. Delete that folder to set it up anew.`)
    else await setUp()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    say(error.message)
    process.exitCode = 1
  }
}
