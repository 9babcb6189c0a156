import { start } from '#worker'
import { checkOptions, describeValue } from '../checks.js'
import { checkReading, type ReadOptions, throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { Connection } from './client.js'
import { type Library, libraryOf } from './library.js'
import type { InitSettings, Port } from './protocol.js'
import { absoluteAddress } from './source.js'

/** Where a worker's WebAssembly comes from. What is absent is the package's own. */
export interface WorkerModuleSource {
  /**
   * Address of `x-transformers.wasm` (or `x-transformers.relaxed.wasm`): what runs on one thread.
   */
  url?: string | URL | undefined
  /** The content of that file. */
  bytes?: ArrayBuffer | ArrayBufferView | undefined
  /** That file, compiled: a `WebAssembly.Module`. */
  module?: object | undefined
  /**
   * Address of `x-transformers.threads.wasm`: what runs on several threads. Where it cannot be had
   * there is one, and `info()` says why.
   */
  threads_url?: string | URL | undefined
}

/** Options of {@link spawn}. */
export interface SpawnOptions extends ReadOptions {
  /**
   * How many threads compute: `auto` is as many as there are cores. More than one needs a page that
   * is cross-origin isolated; elsewhere there is one, and `info()` says why.
   *
   * @default 'auto'
   */
  threads?: number | 'auto' | undefined
  /** Where the WebAssembly files come from, for pages that place them themselves. */
  wasm?: WorkerModuleSource | undefined
  /**
   * A Worker that runs `x-transformers/worker/entry`, or the address of that script, of another
   * origin too: for bundlers that do not find it by themselves. Absent: the package's own.
   */
  worker?: Port | string | URL | undefined
}

const KEYS = ['threads', 'wasm', 'worker', 'on_progress', 'signal']

/**
 * Starts a worker with the library in it. The page stays responsive whatever runs there;
 * `terminate()` frees all of its memory. In Node, whose calls run off the main thread anyway, it is
 * the library of this process behind the same interface.
 *
 * @throws XTransformersError (`worker`) where the worker does not start, (`no_addon`) where it does
 *   not get its WebAssembly
 * @example
 * const x = await spawn()
 * const attn_layers = new x.Decoder({ dim: 64, depth: 2 })
 * const model = new x.TransformerWrapper({ num_tokens: 256, max_seq_len: 64, attn_layers })
 * const logits = await model.forward(tensor([[1, 2, 3]], { dtype: 'i64' }))
 */
export async function spawn(given: SpawnOptions = {}): Promise<Library> {
  const options = checkOptions(given, 'spawn()', KEYS)
  const settings = settingsOf(options)
  const reading = checkReading(options)
  throwIfAborted(reading.signal)
  return await connect(start(options.worker), settings, reading)
}

/** The library behind a port where {@link serve} listens. */
export async function connect(
  port: Port,
  settings: InitSettings = {},
  control: ReadOptions = {},
): Promise<Library> {
  const connection = new Connection(port)
  const rates = await connection.init(settings, control)
  return libraryOf(connection, rates)
}

function settingsOf(options: SpawnOptions): InitSettings {
  const { threads = 'auto' } = options
  const wasm = checkOptions(options.wasm, 'spawn(), wasm', [
    'url',
    'bytes',
    'module',
    'threads_url',
  ])
  if (threads !== 'auto' && !(Number.isInteger(threads) && threads > 0)) {
    throw new XTransformersError(
      'invalid_options',
      `threads must be a whole number from 1, or 'auto', got ${describeValue(threads)}`,
    )
  }
  const { url, bytes, module, threads_url } = wasm
  return {
    threads,
    ...(url && { url: absoluteAddress(url) }),
    ...(threads_url && { threads_url: absoluteAddress(threads_url) }),
    ...(bytes && { bytes }),
    ...(module && { module }),
  }
}
