/** Bytes that come from front to back. */
import { describeValue, isBytes, refuse } from '../checks.js'
import { type ReadOptions, throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { allocate, fileError, type Origin, reasonOf, truncated } from './file-errors.js'
import { type Input, Meter, type RequireMemory, type SizedInput } from './inputs.js'
import { type Reader, readerOf } from './readers.js'

/** After so many bytes more it is asked whether there is room for the next ones .. */
const CHECK_EVERY = 32 * 1024 * 1024
/**
 * .. with as much besides as the engine needs to go on: where it gets nothing, the process ends.
 */
const HEADROOM = 4 * CHECK_EVERY

function checkChunk(chunk: unknown, name: string): Uint8Array {
  if (isBytes(chunk)) return chunk
  const message = `${name} must give pieces of type Uint8Array, got ${describeValue(chunk)}`
  throw new XTransformersError('invalid_argument', message)
}

/** Copies `length` bytes of pieces into one, from `skipped` bytes on in the first of them. */
function join(
  chunks: Iterable<Uint8Array>,
  skipped: number,
  length: number,
  name: string,
): Uint8Array {
  const joined = allocate(length, name)
  let [at, from] = [0, skipped]
  for (const chunk of chunks) {
    if (at === length) break
    const part = chunk.subarray(from, from + length - at)
    joined.set(part, at)
    at += part.length
    from = 0
  }
  return joined
}

/** Pieces that all have come. They stay as they are: joined they would be in memory twice. */
class PiecesInput implements SizedInput {
  readonly size: number
  /** Where each piece begins. */
  readonly #starts: number[] = []

  constructor(
    readonly chunks: readonly Uint8Array[],
    readonly name: string,
  ) {
    let at = 0
    for (const { length } of chunks) {
      this.#starts.push(at)
      at += length
    }
    this.size = at
  }

  async read(offset: number, wanted: number): Promise<Uint8Array> {
    const length = Math.max(0, Math.min(wanted, this.size - offset))
    if (length === 0) return new Uint8Array(0)
    const first = this.#pieceAt(offset)
    const from = offset - (this.#starts[first] as number)
    const chunk = this.chunks[first] as Uint8Array
    if (from + length <= chunk.length) return chunk.subarray(from, from + length)
    return join(this.#from(first), from, length, this.name)
  }

  *#from(first: number): Generator<Uint8Array> {
    for (let i = first; i < this.chunks.length; i++) yield this.chunks[i] as Uint8Array
  }

  /** The last piece that begins at `offset` or before. */
  #pieceAt(offset: number): number {
    let [low, high] = [0, this.chunks.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#starts[middle] as number) <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  async sized(): Promise<SizedInput> {
    return this
  }

  end(): void {}

  async close(): Promise<void> {}
}

/** A stream: read from front to back. It is cancelled when the reading fails. */
export class StreamInput implements Input {
  /** What a stream says of its size is told as progress, and not relied upon. */
  readonly size = null
  readonly #reader: Reader
  readonly #origin: Origin
  readonly #signal: AbortSignal | undefined
  readonly #meter: Meter
  /** What has come and was not wanted yet. */
  #chunks: Uint8Array[] = []
  /** What the first read has taken, until the second. */
  #head: Uint8Array | null = null
  #waiting = 0
  #position = 0
  #done = false

  /** @throws XTransformersError where `stream` is none, or cannot be read */
  constructor(stream: unknown, origin: Origin, { signal, on_progress }: ReadOptions) {
    this.#reader = readerOf(stream, origin.name)
    this.#origin = origin
    this.#signal = signal
    this.#meter = new Meter(origin.size, on_progress)
    // a pending read then ends at once
    signal?.addEventListener('abort', this.#cancel, { once: true })
    if (signal?.aborted) this.#cancel()
  }

  readonly #cancel = (reason: unknown = undefined): void => {
    this.#reader.cancel(this.#signal?.aborted ? this.#signal.reason : reason)
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    await this.#skip(offset - this.#position)
    await this.#has(length)
    const first = this.#position === 0
    const bytes = this.#take(Math.min(length, this.#waiting))
    this.#head = first ? bytes : null
    return bytes
  }

  async #skip(length: number): Promise<void> {
    let left = length
    while (left > 0 && (await this.#has(1)))
      left -= this.#take(Math.min(left, this.#waiting)).length
  }

  /** Whether so many bytes wait to be taken; only at the end fewer. */
  async #has(length: number): Promise<boolean> {
    while (this.#waiting < length && !this.#done) await this.#pull()
    return this.#waiting >= length
  }

  async #pull(): Promise<void> {
    throwIfAborted(this.#signal)
    const { name, exact, size } = this.#origin
    let step: unknown
    try {
      step = await this.#reader.read()
    } catch (error) {
      throwIfAborted(this.#signal)
      throw fileError(
        `${name} broke off after ${this.#meter.loaded} bytes: ${reasonOf(error)}`,
        error,
      )
    }
    throwIfAborted(this.#signal)
    if (typeof step !== 'object' || step === null)
      throw refuse(`what a read of ${name} gives`, '{ done, value }', step)
    const { done, value } = step as { done?: unknown; value?: unknown }
    if (done) {
      this.#done = true
      if (exact && size !== null && this.#meter.loaded < size)
        throw truncated(this.#origin, this.#meter.loaded)
      return
    }
    const chunk = checkChunk(value, name)
    this.#chunks.push(chunk)
    this.#waiting += chunk.length
    this.#meter.add(chunk.length)
    throwIfAborted(this.#signal)
  }

  /** Takes bytes that wait, in a piece of their own where they have come in several. */
  #take(length: number): Uint8Array {
    const first = this.#chunks[0]
    this.#position += length
    this.#waiting -= length
    if (first === undefined || first.length > length) {
      if (first) this.#chunks[0] = first.subarray(length)
      return first?.subarray(0, length) ?? new Uint8Array(0)
    }
    if (first.length === length) return this.#chunks.shift() as Uint8Array
    const joined = join(this.#chunks, 0, length, this.#origin.name)
    this.#drop(length)
    return joined
  }

  #drop(length: number): void {
    let [left, used] = [length, 0]
    for (let chunk = this.#chunks[0]; chunk && chunk.length <= left; chunk = this.#chunks[used]) {
      left -= chunk.length
      used++
    }
    this.#chunks.splice(0, used)
    if (left > 0) this.#chunks[0] = (this.#chunks[0] as Uint8Array).subarray(left)
  }

  /** After the first read at the latest, whose bytes are part of the whole. */
  async sized(requireMemory: RequireMemory): Promise<SizedInput> {
    const { name, size } = this.#origin
    const what = `${name}, which is held in memory as a whole since the directory of such a file is at its end,`
    let next = this.#meter.loaded
    if (size !== null && size - next > CHECK_EVERY) requireMemory(size - next, what)
    while (!this.#done) {
      await this.#pull()
      if (this.#meter.loaded < next) continue
      next = this.#meter.loaded + CHECK_EVERY
      if (this.#meter.loaded > CHECK_EVERY) requireMemory(HEADROOM, what)
    }
    const head = this.#head ? [this.#head] : []
    const chunks = this.#chunks
    this.#chunks = []
    return new PiecesInput(
      [...head, ...chunks].filter(({ length }) => length > 0),
      name,
    )
  }

  end(): void {
    this.#signal?.removeEventListener('abort', this.#cancel)
    this.#meter.end()
  }

  async close(failure?: { readonly error: unknown }): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#cancel)
    if (failure) this.#cancel(failure.error)
  }
}
