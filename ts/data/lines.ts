/** Texts from files, line by line. */
import { checkOptions, isText, refuse } from '../checks.js'
import { type CallControl, checkSignal } from '../control.js'
import { fileError, reasonOf } from '../io/file-errors.js'
import { openSource, type Source } from '../io/sources.js'
import { sourceName } from './source-name.js'

/** How much is read at once, in bytes. */
const PIECE = 256 * 1024

/** Longest line, in bytes: engines hold no longer texts. */
const MAX_LINE = 2 ** 28

const [NEWLINE, RETURN] = [10, 13]

/** The bytes of a source, piece by piece; each is valid until the next one. */
async function* piecesOf(
  source: Source,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const input = await openSource(source, { signal })
  // a stream that is left early is cancelled
  let failure: { error: unknown } | undefined = { error: undefined }
  try {
    for (let offset = 0; ; ) {
      const bytes = await input.read(offset, PIECE)
      if (bytes.length > 0) yield bytes
      offset += bytes.length
      if (bytes.length < PIECE) break
    }
    failure = undefined
  } catch (error) {
    failure = { error }
    throw error
  } finally {
    await input.close(failure)
  }
}

/** Finds the lines in bytes: in UTF-8 the ends of lines are bytes of their own. */
class LineReader {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  /** The beginning of a line whose end has not come. */
  #parts: Uint8Array[] = []
  #waiting = 0
  #afterReturn = false
  /** The number of the last line. */
  line = 0

  constructor(readonly name: string) {}

  /** The lines that end in these bytes. */
  *feed(bytes: Uint8Array): Generator<string, void, undefined> {
    // the second half of an end
    let start = this.#afterReturn && bytes[0] === NEWLINE ? 1 : 0
    this.#afterReturn = false
    for (let i = start; i < bytes.length; i++) {
      const byte = bytes[i]
      if (byte !== NEWLINE && byte !== RETURN) continue
      yield this.#end(bytes.subarray(start, i))
      if (byte === RETURN && bytes[i + 1] === NEWLINE) i++
      this.#afterReturn = byte === RETURN && i + 1 === bytes.length
      start = i + 1
    }
    this.#keep(bytes.slice(start))
  }

  /** The last line, where it has no end. */
  *last(): Generator<string, void, undefined> {
    if (this.#waiting > 0) yield this.#end(new Uint8Array(0))
  }

  #keep(part: Uint8Array): void {
    this.#waiting += part.length
    if (part.length > 0) this.#parts.push(part)
    if (this.#waiting <= MAX_LINE) return
    throw fileError(`line ${this.line + 1} of ${this.name} has more than ${MAX_LINE} bytes`)
  }

  #end(part: Uint8Array): string {
    this.line++
    let bytes = part
    if (this.#waiting > 0) {
      bytes = new Uint8Array(this.#waiting + part.length)
      let at = 0
      for (const piece of [...this.#parts, part]) {
        bytes.set(piece, at)
        at += piece.length
      }
      this.#parts = []
      this.#waiting = 0
    }
    // the mark that some editors begin a file with
    const marked = this.line === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
    try {
      return this.#decoder.decode(marked ? bytes.subarray(3) : bytes)
    } catch (error) {
      throw fileError(`line ${this.line} of ${this.name} is no UTF-8: ${reasonOf(error)}`, error)
    }
  }
}

async function* linesOf(source: Source, signal: AbortSignal | undefined, reader: LineReader) {
  for await (const bytes of piecesOf(source, signal)) yield* reader.feed(bytes)
  yield* reader.last()
}

/**
 * The lines of a text in UTF-8, without their ends (`\n`, `\r\n` or `\r`), as they come: the text
 * may be larger than memory. A mark of the byte order at the beginning is left out.
 *
 * @throws XTransformersError (`file`) where the source cannot be read, or where a line is no UTF-8;
 *   the signal's reason after an abort
 * @example
 * for await (const line of textLines('corpus.txt')) console.log(line)
 */
export async function* textLines(
  source: Source,
  options: CallControl = {},
): AsyncGenerator<string, void, undefined> {
  const { signal } = checkOptions(options, 'textLines()', ['signal'])
  yield* linesOf(source, checkSignal(signal), new LineReader(sourceName(source)))
}

/** Options of {@link jsonl}. */
export interface JsonlOptions extends CallControl {
  /** Gives the text under this name of each line. Absent: what the line says as a whole. */
  field?: string | undefined
}

/**
 * What the lines of a file in JSON Lines say, as they come; empty lines are passed over.
 *
 * @throws XTransformersError (`file`) where the source cannot be read, where a line is no JSON, or
 *   has no text under `field`: the message names the line; the signal's reason after an abort
 * @example
 * for await (const text of jsonl('corpus.jsonl', { field: 'text' })) console.log(text)
 */
export function jsonl(
  source: Source,
  options: JsonlOptions & { field: string },
): AsyncGenerator<string, void, undefined>
export function jsonl(
  source: Source,
  options?: JsonlOptions,
): AsyncGenerator<unknown, void, undefined>
export async function* jsonl(
  source: Source,
  options: JsonlOptions = {},
): AsyncGenerator<unknown, void, undefined> {
  const { field, signal } = checkOptions(options, 'jsonl()', ['field', 'signal'])
  if (field !== undefined && field !== null && !isText(field))
    throw refuse('field', 'a string', field)
  const reader = new LineReader(sourceName(source))
  for await (const line of linesOf(source, checkSignal(signal), reader)) {
    if (line.trim() === '') continue
    yield parsed(line, field ?? null, `line ${reader.line} of ${reader.name}`)
  }
}

function parsed(line: string, field: string | null, where: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw fileError(`${where} is no JSON: ${reasonOf(error)}`, error)
  }
  if (field === null) return value
  const found =
    typeof value === 'object' && value !== null && Object.hasOwn(value, field)
      ? (value as Record<string, unknown>)[field]
      : undefined
  if (typeof found === 'string') return found
  throw fileError(`${where} has no text under ${JSON.stringify(field)}`)
}
