import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { XTransformersError } from './errors.js'
import type { Native } from './native.js'

/** Files, where the platform has them. Writing is atomic: a temporary file, then a rename. */
export interface Files {
  read(path: string): Promise<Uint8Array>
  readSync(path: string): Uint8Array
  write(path: string, bytes: Uint8Array): Promise<void>
  writeSync(path: string, bytes: Uint8Array): void
}

// Built, this is CommonJS; tests run it as it is, where vitest provides __dirname.
const here = typeof __dirname === 'string' ? __dirname : process.cwd()
const addonRequire = createRequire(join(here, 'native.node.js'))

/** The platform in napi-rs's spelling, such as `linux-x64-gnu`. */
function triple(): string {
  const { platform, arch } = process
  if (platform === 'win32') return `win32-${arch}-msvc`
  if (platform !== 'linux') return `${platform}-${arch}`
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  const gnu = Boolean(report.header.glibcVersionRuntime)
  if (arch === 'arm') return `linux-arm-${gnu ? 'gnueabihf' : 'musleabihf'}`
  return `linux-${arch}-${gnu ? 'gnu' : 'musl'}`
}

/** Where the package's own files may be: this file is in ts/, or in a folder of dist/. */
function roots(): string[] {
  return [here, dirname(here), dirname(dirname(here))]
}

function candidates(name: string): string[] {
  const chosen = process.env.X_TRANSFORMERS_ADDON
  // whoever names a file wants that one, or an error
  if (chosen) return [resolve(chosen)]
  const file = `x-transformers.${name}.node`
  const places = roots().flatMap((root) => [join(root, file), join(root, 'dist', file)])
  return [...places.filter((path) => existsSync(path)), `@x-transformers/${name}`]
}

function load(): Native {
  const name = triple()
  const failures: string[] = []
  for (const candidate of candidates(name)) {
    try {
      return addonRequire(candidate) as Native
    } catch (error) {
      failures.push(`${candidate}: ${(error as Error).message.split('\n')[0]}`)
    }
  }
  throw new XTransformersError(
    'no_addon',
    `there is no native addon of x-transformers for ${name}: build it with \`npm run build\` in the package's folder, or name one with the environment variable X_TRANSFORMERS_ADDON. Tried:\n${failures.map((f) => `  ${f}`).join('\n')}`,
  )
}

/** The addon for this platform. */
export const native: Native = load()

const io = (error: unknown) => new XTransformersError('file', (error as Error).message, [], { cause: error })

let written = 0
const temporary = (path: string) => `${path}.${process.pid}.${written++}.tmp`

/** Node's file system. */
export const files: Files | null = {
  async read(path) {
    return await readFile(path).catch((error) => {
      throw io(error)
    })
  },
  readSync(path) {
    try {
      return readFileSync(path)
    } catch (error) {
      throw io(error)
    }
  },
  async write(path, bytes) {
    const beside = temporary(path)
    try {
      await writeFile(beside, bytes)
      await rename(beside, path)
    } catch (error) {
      await rm(beside, { force: true })
      throw io(error)
    }
  },
  writeSync(path, bytes) {
    const beside = temporary(path)
    try {
      writeFileSync(beside, bytes)
      renameSync(beside, path)
    } catch (error) {
      rmSync(beside, { force: true })
      throw io(error)
    }
  },
}
