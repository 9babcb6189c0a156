import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { XTransformersError } from '../errors.js'
import type { Running } from '../wasm/start.js'
import { ADDONS } from './addons.node.js'
import { causeOf, causeOfChosen, type Failure, triesOf } from './causes.node.js'
import { pathOfCopy } from './copied.node.js'
import type { Native } from './native.js'
import { here, loadWasm } from './wasm.node.js'

/** The native side, and how the module for WebAssembly runs where it is that. */
export interface Found {
  native: Native
  running: Omit<Running, 'native'> | null
}

/**
 * The platform in napi-rs's spelling, such as `linux-x64-gnu`; on Linux for either C library, the
 * more frequent one first. Which of them is there Node tells only in a report, which takes longer
 * than to load the addon; one for the other does not load.
 */
export function triples(): string[] {
  const { platform, arch } = process
  if (platform === 'win32') return [`win32-${arch}-msvc`]
  if (platform !== 'linux') return [`${platform}-${arch}`]
  const libraries = arch === 'arm' ? ['gnueabihf', 'musleabihf'] : ['gnu', 'musl']
  return libraries.map((library) => `linux-${arch}-${library}`)
}

/**
 * What no tracer shall follow. The folder may be a relative one, as webpack writes it on demand.
 */
const requireFile = (path: string): unknown =>
  createRequire(resolve(here, 'x-transformers.js'))(path)

/** Of a platform that is not in the table. */
const unlisted = (name: string) => requireFile(resolve(here, `../../x-transformers.${name}.node`))

/** Bundlers that copy the file give its address instead. */
function loaded(value: unknown): Native {
  const { default: address = value } = value as { default?: unknown }
  return checked(typeof address === 'string' ? requireFile(pathOfCopy(address)) : value)
}

/** @throws Error where it is an addon, but not this one */
function checked(addon: unknown): Native {
  const { construct, info } = addon as Partial<Native>
  if (typeof construct === 'function' && typeof info === 'function') return addon as Native
  throw new Error('it is an addon of another package')
}

function attempt(name: string, failures: Failure[]): Native | null {
  const fail = (error: unknown) => failures.push({ error: error as Error })
  try {
    const value = name in ADDONS ? ADDONS[name]?.(fail) : unlisted(name)
    return value === undefined ? null : loaded(value)
  } catch (error) {
    fail(error)
    return null
  }
}

/** `tries`: what was tried before, for the error. */
function orWasm(cause: string, tries = ''): Found {
  const wasm = loadWasm(cause)
  if (typeof wasm === 'string') {
    const list = tries && `\nWhat was tried:${tries}\n- WebAssembly: ${wasm}`
    throw new XTransformersError('no_addon', `${cause}; ${wasm}${list}`)
  }
  const { native, ...running } = wasm
  return { native, running }
}

/** Whoever names a file wants that one, or an error. */
function chosen(name: string): Found {
  const path = resolve(name)
  try {
    return { native: checked(open(path)), running: null }
  } catch (error) {
    throw new XTransformersError(
      'no_addon',
      causeOfChosen(path, error as Error, triples().join(' or ')),
      [],
      {
        cause: error,
      },
    )
  }
}

/** Node takes a file without this ending for JavaScript. */
function open(path: string): unknown {
  if (path.endsWith('.node')) return requireFile(path)
  const module = { exports: {} }
  process.dlopen(module, path)
  return module.exports
}

/** The addon for this platform, or the one that the environment names, or WebAssembly. */
export function find(): Found {
  const { X_TRANSFORMERS_ADDON: name } = process.env
  if (name === 'wasm') return orWasm('X_TRANSFORMERS_ADDON=wasm asks for WebAssembly')
  if (name) return chosen(name)
  const failures: Failure[] = []
  for (const triple of triples()) {
    const native = attempt(triple, failures)
    if (native) return { native, running: null }
  }
  const { message, broken } = causeOf(failures, triples())
  const found = orWasm(message, triesOf(failures))
  // who has installed an addon expects its speed
  if (broken) process.emitWarning(`x-transformers runs as WebAssembly, on one thread: ${message}`)
  return found
}
