/**
 * Reads files of tensors: hands the native side the bytes that it asks for, straight from the
 * source.
 */
import { native } from '#native'
import { ignoreRejection, isThenable } from '../checks.js'
import { checkReading, type Progress, type ReadOptions, throwIfAborted } from '../control.js'
import { fromNative, guarded, XTransformersError } from '../errors.js'
import { jsonOf } from '../native/json.js'
import type { NativeReader, ReaderSettings } from '../native/native.js'
import { Promises } from '../promises.js'
import { requireMemory } from './host-memory.js'
import type { Input, SizedInput, SyncInput } from './inputs.js'
import { type Index, isIndex, MAX_INDEX_BYTES, parseIndex } from './shards.js'
import { openSource, openSourceSync, type Source, type SyncSource } from './sources.js'

/**
 * Reading with an `on_progress` that may be asynchronous; `told` rejects with what it rejects with.
 */
export function watch({ on_progress, ...others }: ReadOptions): {
  options: ReadOptions
  told: () => Promise<unknown>
} {
  let all: Promise<unknown> = Promises.resolve()
  if (!on_progress) return { options: others, told: () => all }
  const tell = (progress: Progress): void => {
    const result: unknown = on_progress(progress)
    if (!isThenable(result)) return
    all = Promises.all([all, result])
    // where the reading fails for another reason, nobody waits for it
    ignoreRejection(all)
  }
  return { options: { ...others, on_progress: tell }, told: () => all }
}

/** How a file is read, but for its size. */
export type Settings = Omit<ReaderSettings, 'size'>

/** What is often loaded by mistake, by how it begins. */
const MISTAKES: readonly [start: RegExp, what: string][] = [
  [/^$/, 'it is empty'],
  [
    /^(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml)/i,
    'it looks like HTML, as servers answer where there is no such file: check the address',
  ],
  [
    /^version https:\/\/git-lfs/,
    'it is a pointer of Git LFS: fetch the file itself (git lfs pull)',
  ],
  [/^.\x8b/s, 'it is compressed (gzip): unpack it first'],
]

/**
 * An error about bytes that cannot be loaded, which also says what they are where that is plain to
 * see from the first of them.
 */
function explain(error: unknown, start: Uint8Array | null): XTransformersError {
  const plain = fromNative(error)
  const text = String.fromCharCode(...(start ?? []))
  // the header of a safetensors file begins at the ninth byte
  const known = start === null || text[8] === '{'
  const what = known ? undefined : MISTAKES.find(([pattern]) => pattern.test(text))?.[1]
  if (plain.code !== 'invalid_checkpoint' || what === undefined) return plain
  return new XTransformersError(plain.code, `${plain.message}; ${what}`, [], { cause: plain })
}

const isNative = (error: unknown) => !(error instanceof XTransformersError)

/** Runs a step of the native side; `start` are the first bytes of the file. */
async function told<T>(step: () => Promise<T>, start: Uint8Array | null): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw isNative(error) ? explain(error, start) : error
  }
}

const makeReader = (settings: Settings, size: number | null): NativeReader =>
  guarded(() => native.reader(jsonOf({ ...settings, size } satisfies ReaderSettings)))

const rangeOf = (reader: NativeReader) => {
  const range = reader.next()
  return range && ([range[0] as number, range[1] as number] as const)
}

/**
 * Reads a source: `finish` takes what the reader has, an index of several files comes back as it
 * is. A source that comes from front to back is read in that order; only for PyTorch's format,
 * whose directory is at the end, all of it is held in memory.
 */
export async function readSource<T>(
  source: Source,
  settings: Settings,
  options: ReadOptions,
  finish: (reader: NativeReader) => Promise<T>,
): Promise<T | Index> {
  const progress = watch(checkReading(options))
  const input = await openSource(source, progress.options)
  let reader: NativeReader | null = null
  try {
    reader = makeReader(settings, input.size)
    const result = await feed(reader, input, options.signal, finish)
    await progress.told()
    await input.close()
    return result
  } catch (error) {
    await input.close({ error })
    throw error
  } finally {
    reader?.dispose()
  }
}

async function feed<T>(
  reader: NativeReader,
  source: Input,
  signal: AbortSignal | undefined,
  finish: (reader: NativeReader) => Promise<T>,
): Promise<T | Index> {
  let input = source
  let start: Uint8Array | null = null
  for (;;) {
    if (reader.needsSize()) {
      const sized: SizedInput = await input.sized(requireMemory)
      reader.setSize(sized.size)
      input = sized
    }
    const range = rangeOf(reader)
    if (!range) break
    const bytes = await input.read(...range)
    if (start === null && isIndex(bytes)) return await readIndex(source)
    start ??= bytes.slice(0, 40)
    await told(() => reader.feed(bytes), start)
    throwIfAborted(signal)
  }
  const result = await told(() => finish(reader), start)
  source.end()
  return result
}

async function readIndex(input: Input): Promise<Index> {
  const sized = await input.sized(requireMemory)
  const index = parseIndex(await sized.read(0, Math.min(sized.size, MAX_INDEX_BYTES)))
  input.end()
  return index
}

/** As {@link readSource}, at once. */
export function readSourceSync<T>(
  source: SyncSource,
  settings: Settings,
  finish: (reader: NativeReader) => T,
): T | Index {
  const input = openSourceSync(source)
  let reader: NativeReader | null = null
  try {
    reader = makeReader(settings, input.size)
    return feedSync(reader, input, finish)
  } finally {
    input.close()
    reader?.dispose()
  }
}

function feedSync<T>(
  reader: NativeReader,
  input: SyncInput,
  finish: (reader: NativeReader) => T,
): T | Index {
  let start: Uint8Array | null = null
  const step = <R>(run: () => R): R => {
    try {
      return run()
    } catch (error) {
      throw isNative(error) ? explain(error, start) : error
    }
  }
  for (let range = rangeOf(reader); range; range = rangeOf(reader)) {
    const bytes = input.read(...range)
    if (start === null && isIndex(bytes))
      return parseIndex(input.read(0, Math.min(input.size, MAX_INDEX_BYTES)))
    start ??= bytes.slice(0, 40)
    step(() => reader.feedSync(bytes))
  }
  return step(() => finish(reader))
}
