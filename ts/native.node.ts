import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { XTransformersError } from './errors.js'
import type { Native } from './native.js'
import type { Glue } from './wasm/glue.js'
import { hasRelaxedSimd, type ModuleSource, type Running, startSingle } from './wasm/start.js'

export { files } from './files.node.js'

// Built, this is CommonJS; tests run it as it is, where vitest provides __dirname.
const here = typeof __dirname === 'string' ? __dirname : process.cwd()
const addonRequire = createRequire(join(here, 'native.node.js'))

/**
 * The platform in napi-rs's spelling, such as `linux-x64-gnu`; on Linux for either C library, the more frequent one first. Which of them is
 * there Node tells only in a report, which takes longer than to load the addon; one for the other does not load.
 */
function triples(): string[] {
  const { platform, arch } = process
  if (platform === 'win32') return [`win32-${arch}-msvc`]
  if (platform !== 'linux') return [`${platform}-${arch}`]
  const libraries = arch === 'arm' ? ['gnueabihf', 'musleabihf'] : ['gnu', 'musl']
  return libraries.map((library) => `linux-${arch}-${library}`)
}

/** Where the package's own files may be: this file is in ts/, or in a folder of dist/. */
function roots(): string[] {
  return [here, dirname(here), dirname(dirname(here))]
}

function candidates(): string[] {
  const chosen = process.env.X_TRANSFORMERS_ADDON
  if (chosen === 'wasm') return []
  // whoever names a file wants that one, or an error
  if (chosen) return [resolve(chosen)]
  return triples().flatMap((name) => {
    const file = `x-transformers.${name}.node`
    const places = roots().flatMap((root) => [join(root, file), join(root, 'dist', file)])
    return [...places.filter((path) => existsSync(path)), `@x-transformers/${name}`]
  })
}

/** For people. */
function platform(): string {
  return triples().join(' or ')
}

/** The module for WebAssembly, started at once; null where it was not built. */
function loadWasm(): Running | null {
  const folders = roots().flatMap((root) => [root, join(root, 'dist/cjs')])
  const glue = folders.map((folder) => join(folder, 'wasm/pkg/single.js')).find((path) => existsSync(path))
  if (!glue) return null
  const name = hasRelaxedSimd() ? 'x-transformers.relaxed.wasm' : 'x-transformers.wasm'
  const file = join(dirname(glue), '../../../esm/wasm/pkg', name)
  if (!existsSync(file)) return null
  const module = new WebAssembly.Module(readFileSync(file))
  return startSingle(addonRequire(glue) as Glue, module, `there is no native addon for ${platform()}`)
}

function find(): { native: Native; running: Omit<Running, 'native'> | null } {
  const failures: string[] = []
  for (const candidate of candidates()) {
    try {
      return { native: addonRequire(candidate) as Native, running: null }
    } catch (error) {
      failures.push(`${candidate}: ${(error as Error).message.split('\n')[0]}`)
    }
  }
  // whoever names a file wants that one, or an error
  const chosen = process.env.X_TRANSFORMERS_ADDON
  const wasm = !chosen || chosen === 'wasm' ? loadWasm() : null
  if (wasm) {
    const { native, ...running } = wasm
    return { native, running }
  }
  throw new XTransformersError(
    'no_addon',
    `there is no native addon of x-transformers for ${platform()}: build it with \`npm run build\` in the package's folder, or name one with the environment variable X_TRANSFORMERS_ADDON. Tried:\n${failures.map((f) => `  ${f}`).join('\n')}`,
  )
}

const found = find()

/** The addon for this platform, or the module for WebAssembly. */
export const native: Native = found.native
/** How the module for WebAssembly runs; null where there is an addon. */
export const running = found.running

/** For programs that run in browsers too: in Node everything is there once it is imported. */
export async function init(_settings?: ModuleSource): Promise<void> {}
