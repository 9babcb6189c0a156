import { checkOptions, describeValue } from '../checks.js'
import { type CallControl, checkSignal } from '../control.js'
import { XTransformersError } from '../errors.js'
import { fileError } from '../io/file-errors.js'
import { requireMemory } from '../io/host-memory.js'
import type { SizedInput } from '../io/inputs.js'
import { openSource, type Source, saveTo, type Target } from '../io/sources.js'
import '../symbols.js'
import { checkCount } from './checks.js'
import { checkRow, copyIds, greatestId, type IdRow, type TokenDType, type TokenIds } from './ids.js'
import { sourceName } from './source-name.js'
import { checkStream, examplesOf, type StreamLike } from './stream.js'
import { checkRange, type Tokens } from './tokens.js'

/** Options of {@link TokenFile.open}; a signal aborts the opening alone. */
export interface TokenFileOptions extends CallControl {
  /** How the ids stand in the file: `u16` (two bytes each, as nanoGPT writes them) or `u32`. */
  dtype: TokenDType
}

const ARRAYS = { u16: Uint16Array, u32: Uint32Array }

function checkTokenDType(dtype: unknown): TokenDType {
  if (dtype === 'u16' || dtype === 'u32') return dtype
  const message = `dtype must be 'u16' or 'u32', the type of the ids in the file, got ${describeValue(dtype)}`
  throw new XTransformersError('invalid_argument', message)
}

/** A signal that follows another one until `unlink`: what is open is not to be aborted. */
function linked(signal: AbortSignal | undefined): { signal: AbortSignal; unlink: () => void } {
  const controller = new AbortController()
  const abort = () => controller.abort(signal?.reason)
  signal?.addEventListener('abort', abort)
  if (signal?.aborted) abort()
  return {
    signal: controller.signal,
    unlink: () => signal?.removeEventListener('abort', abort),
  }
}

async function openIds(
  source: Source,
  dtype: TokenDType,
  signal: AbortSignal,
): Promise<SizedInput> {
  const opened = await openSource(source, { signal })
  try {
    const name = sourceName(source)
    const held = `${name}, which comes from front to back and so is held in memory as a whole,`
    const input = await opened.sized((bytes) => requireMemory(bytes, held))
    const width = ARRAYS[dtype].BYTES_PER_ELEMENT
    if (input.size % width === 0) return input
    throw fileError(
      `${name} has ${input.size} bytes, which is no multiple of the ${width} of an id of type ${dtype}: it has another dtype, or is no file of ids`,
    )
  } catch (error) {
    await opened.close({ error })
    throw error
  }
}

/**
 * Token ids in a file, little-endian and with nothing else in it, as nanoGPT's `train.bin`. Only
 * what is asked for is read, so that the file may be larger than memory: of a path in Node, a Blob
 * or a File, `opfs:folder/name` in a browser, or bytes. An address or a stream, which come from
 * front to back, are read into memory as a whole.
 *
 * @example
 * const tokens = await TokenFile.open('train.bin', { dtype: 'u16' })
 * await tokens.read(1000, 4) // a Uint16Array with 4 ids
 * await tokens.close()
 */
export class TokenFile implements Tokens {
  /** The number of ids. */
  readonly length: number
  /** The type of an id in the file. */
  readonly dtype: TokenDType
  readonly #input: SizedInput
  #closed: Promise<void> | null = null
  /** The last read: an input takes one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(input: SizedInput, dtype: TokenDType) {
    this.#input = input
    this.dtype = dtype
    this.length = input.size / ARRAYS[dtype].BYTES_PER_ELEMENT
  }

  /**
   * Opens a file of ids.
   *
   * @throws XTransformersError (`file`) where it cannot be read, or where its size is no multiple
   *   of that of an id
   */
  static async open(source: Source, options: TokenFileOptions): Promise<TokenFile> {
    const own = checkOptions(options, 'TokenFile.open()', ['dtype', 'signal'])
    const dtype = checkTokenDType(own.dtype)
    const opening = linked(checkSignal(own.signal))
    try {
      const input = await openIds(source, dtype, opening.signal)
      return new TokenFile(input, dtype)
    } finally {
      opening.unlink()
    }
  }

  /**
   * `length` ids from `offset` on.
   *
   * @throws XTransformersError (`invalid_argument`) where there are not so many; (`disposed`) after
   *   `close()`; (`file`) where the file cannot be read any more
   */
  async read(offset: number, length: number): Promise<TokenIds> {
    checkRange(offset, length, this.length)
    if (this.#closed)
      throw new XTransformersError('disposed', 'the TokenFile is closed: open it again')
    const read = () => this.#read(offset, length)
    const reading = this.#last.then(read, read)
    this.#last = reading
    return await reading
  }

  async #read(offset: number, length: number): Promise<TokenIds> {
    const Type = ARRAYS[this.dtype]
    const width = Type.BYTES_PER_ELEMENT
    const bytes = await this.#input.read(offset * width, length * width)
    const ids = new Type(length)
    // the bytes may be gone at the next read, and begin anywhere
    new Uint8Array(ids.buffer).set(bytes.subarray(0, length * width))
    return ids
  }

  /** Lets go of the file, after the reads that have begun. */
  async close(): Promise<void> {
    const close = () => this.#input.close()
    this.#closed ??= this.#last.then(close, close)
    await this.#closed
  }

  /** `await using` closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Options of {@link writeTokens}. */
export interface WriteTokensOptions {
  /** How the ids are written: `u16` (two bytes each, up to 65535) or `u32`. */
  dtype: TokenDType
  /** An id that is put behind each row, where there are several. */
  eos?: number | undefined
}

/**
 * Writes ids as a file that {@link TokenFile} and nanoGPT read. All of them are in memory before
 * the first one is written: a file is whole, or stays as it was.
 *
 * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream
 * @param ids a row; or rows that are put one after the other, such as one for each text, also of an
 *   async generator
 * @returns how many ids were written
 * @throws XTransformersError (`invalid_argument`) where an id does not fit into the type; (`file`)
 * @example
 * const texts = jsonl('texts.jsonl', { field: 'text' })
 * await writeTokens('train.bin', documents(texts, tokenizer), { dtype: 'u16' })
 */
export async function writeTokens(
  target: Target,
  ids: IdRow | StreamLike<IdRow>,
  options: WriteTokensOptions,
): Promise<number> {
  const { dtype, eos } = checkOptions(options, 'writeTokens()', ['dtype', 'eos'])
  const Type = ARRAYS[checkTokenDType(dtype)]
  const end = eos === undefined || eos === null ? [] : [checkCount(eos, 'eos', 0)]
  const flat = ArrayBuffer.isView(ids) || (Array.isArray(ids) && typeof ids[0] === 'number')
  if (!flat) checkStream(ids as StreamLike<IdRow>, 'ids')
  const gathered = new Gathered(Type)
  await saveTo(target, async () => {
    if (flat) gathered.add(ids as IdRow, 'ids')
    else await gathered.addAll(ids as StreamLike<IdRow>, end)
    return gathered.bytes()
  })
  return gathered.count
}

/** Rows as one array, which grows as they come. */
class Gathered {
  count = 0
  readonly #Type: typeof Uint16Array | typeof Uint32Array
  readonly #max: number
  #ids: TokenIds

  constructor(Type: typeof Uint16Array | typeof Uint32Array) {
    this.#Type = Type
    this.#max = 2 ** (8 * Type.BYTES_PER_ELEMENT) - 1
    this.#ids = new Type(1024)
  }

  async addAll(rows: StreamLike<IdRow>, end: readonly number[]): Promise<void> {
    let row = 0
    for await (const next of examplesOf(rows, 'ids')) {
      this.add(next, `ids[${row++}]`)
      this.add(end, 'eos')
    }
  }

  add(value: IdRow, what: string): void {
    const row = checkRow(value, what)
    greatestId(row, what, this.#max)
    const size = this.count + row.length
    if (size > this.#ids.length) {
      const larger = new this.#Type(Math.max(size, 2 * this.#ids.length))
      larger.set(this.#ids.subarray(0, this.count))
      this.#ids = larger
    }
    copyIds(row, this.#ids, this.count)
    this.count = size
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#ids.buffer, 0, this.count * this.#Type.BYTES_PER_ELEMENT)
  }
}
