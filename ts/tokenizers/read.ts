import { describeValue, isRecord } from '../checks.js'
import type { ReadOptions } from '../control.js'
import { throwIfAborted } from '../control.js'
import { XTransformersError } from '../errors.js'
import { joined } from '../io/joined.js'
import { openSource, type Source } from '../io/sources.js'

/** Most bytes of a tokenizer's file; the largest ones have some tens of millions. */
const MAX_BYTES = 512 * 1024 * 1024

/** Bytes of one read. */
const PIECE = 4 * 1024 * 1024

const tooLong = () =>
  new XTransformersError(
    'invalid_checkpoint',
    `a tokenizer's file has at most ${MAX_BYTES} bytes: this is another file`,
  )

/** All bytes of a source. */
export async function readBytes(source: Source, options: ReadOptions): Promise<Uint8Array> {
  const input = await openSource(source, options)
  let failure: { error: unknown } | undefined
  try {
    const pieces: Uint8Array[] = []
    for (let at = 0; ; ) {
      throwIfAborted(options.signal)
      const piece = await input.read(at, PIECE)
      if (piece.length === 0) break
      // it may be gone at the next read
      pieces.push(piece.slice())
      at += piece.length
      if (at > MAX_BYTES) throw tooLong()
    }
    input.end()
    return joined(pieces)
  } catch (error) {
    failure = { error }
    throw error
  } finally {
    await input.close(failure)
  }
}

/** The text of a source, without a byte order mark. */
export async function readText(source: Source, options: ReadOptions): Promise<string> {
  return decoded(await readBytes(source, options), 'the file')
}

/**
 * Bytes as text, without a byte order mark.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where they are none
 */
export function decoded(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new XTransformersError('invalid_checkpoint', `${what} is no text in UTF-8`, [], {
      cause: error,
    })
  }
}

/** What is often read by mistake for JSON. */
function mistakeIn(text: string): string | null {
  if (/^\s*</.test(text))
    return 'it looks like HTML, as servers answer where there is no such file: check the address'
  return /^version https:\/\/git-lfs/.test(text)
    ? 'it is a pointer of Git LFS: fetch the file itself (git lfs pull)'
    : null
}

/**
 * What JSON says.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where it is none
 */
export function parseJSON(bytes: Uint8Array, what: string): unknown {
  const text = decoded(bytes, what)
  try {
    return JSON.parse(text)
  } catch (error) {
    const hint = mistakeIn(text) ?? (error as Error).message
    throw new XTransformersError('invalid_checkpoint', `${what} is no JSON: ${hint}`, [], {
      cause: error,
    })
  }
}

/**
 * What JSON says, which must be an object.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where it is none
 */
export function recordIn(bytes: Uint8Array, what: string): Readonly<Record<string, unknown>> {
  const json = parseJSON(bytes, what)
  if (isRecord(json)) return json
  const message = `${what} must be an object, got ${describeValue(json)}`
  throw new XTransformersError('invalid_checkpoint', message)
}
