// The package as published: packed and installed once for all test files of this folder, by the
// first of them.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { npm } from '../../scripts/lib.mjs'
import { pack, type Tarball } from '../../scripts/pack.mjs'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Packed {
  /** For other files of this run. */
  folder: string
  /** The package first, then the platform packages. */
  tarballs: Tarball[]
  /** A folder in which all of them are installed. */
  native: string
  /** A folder with the package only, as on a platform without an addon. */
  wasm: string
}

/**
 * Outside of the repository, so that Node does not find its modules. `run` is the process of
 * vitest.
 */
export const folderOfRun = (run: number) => join(tmpdir(), `x-transformers-package-${run}`)

const PATIENCE = 240_000

/** Packs and installs, or waits for the test file that does. */
export async function packed(): Promise<Packed> {
  const inputs = ['dist/.stamp', 'package.json', 'README.md', 'scripts/pack.mjs'].map((path) =>
    join(root, path),
  )
  const hash = createHash('sha256')
  for (const path of inputs) if (existsSync(path)) hash.update(readFileSync(path))
  const parent = folderOfRun(process.ppid)
  const folder = join(parent, hash.digest('hex').slice(0, 16))
  mkdirSync(parent, { recursive: true })
  const answer = `${folder}.json`
  if (claimed(folder)) {
    const result = await make(folder).catch((error: Error) => ({ failure: error.message }))
    writeFileSync(`${answer}.new`, JSON.stringify(result))
    renameSync(`${answer}.new`, answer)
  }
  for (let waited = 0; !existsSync(answer) && waited < PATIENCE; waited += 100) await sleep(100)
  const result = JSON.parse(readFileSync(answer, 'utf8')) as Packed | { failure: string }
  if ('failure' in result) throw new Error(result.failure)
  return result
}

/** Whether this file is the first one: a folder can be created only once. */
function claimed(folder: string): boolean {
  try {
    mkdirSync(folder)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function make(folder: string): Promise<Packed> {
  const tarballs = await pack(join(folder, 'pack'))
  const files = tarballs.map(({ file }) => file)
  const native = await install(join(folder, 'native'), files)
  const wasm = await install(join(folder, 'wasm'), files.slice(0, 1))
  return { folder, tarballs, native, wasm }
}

/** Offline: a missing platform package cannot be downloaded, which npm must tolerate. */
async function install(folder: string, tarballs: string[]): Promise<string> {
  mkdirSync(folder)
  const flags = [
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    '--offline',
    '--loglevel=error',
    '--prefix',
    folder,
  ]
  const { code, out } = await npm(['install', ...flags, ...tarballs], {
    cwd: folder,
    stdout: 'capture',
  })
  if (code !== 0) throw new Error(`npm install of ${tarballs.join(' and ')} failed:\n${out}`)
  return folder
}

/** The environment of a user, without variables of vitest and npm. */
function environment(): NodeJS.ProcessEnv {
  const own =
    /^(NODE_ENV|NODE_OPTIONS|X_TRANSFORMERS_ADDON|VITEST.*|TEST|MODE|DEV|PROD|SSR|BASE_URL|npm_.*)$/
  const kept = Object.entries(process.env).filter(([name]) => !own.test(name))
  return { ...Object.fromEntries(kept), NO_COLOR: '1' }
}

/** The stdout of a Node program; rejects with its whole output if it fails. */
export async function node(cwd: string, ...args: string[]): Promise<string> {
  const options = { cwd, env: environment(), maxBuffer: 1e8 }
  try {
    return (await promisify(execFile)(process.execPath, args, options)).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`node ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error })
  }
}

/** The main file of a devDependency's command. */
export function bin(name: string, command = name): string {
  const path = createRequire(import.meta.url).resolve(
    join(root, 'node_modules', name, 'package.json'),
  )
  const { bin } = JSON.parse(readFileSync(path, 'utf8')) as { bin: string | Record<string, string> }
  return join(dirname(path), typeof bin === 'string' ? bin : (bin[command] as string))
}
