/** Texts of files, in pieces that can be encoded one by one. */
import { createReadStream } from 'node:fs'
import { extname } from 'node:path'
import { jsonl } from 'x-transformers/data'
import type { DataConfig } from '../config/schema.js'
import { Failure, fileFailure } from '../errors.js'

/** How long a piece may become while it waits for a place to cut, in UTF-16 units. */
const LONGEST = 2 ** 23

/**
 * Where a text may be cut so that its parts have the tokens of the whole: words end at a single
 * line feed between two characters that are no space.
 */
function cutOf(text: string): number {
  for (let at = text.lastIndexOf('\n'); at > 0; at = text.lastIndexOf('\n', at - 1)) {
    const [before, after] = [text[at - 1], text[at + 1]] as [string, string | undefined]
    if (after !== undefined && /\S/.test(before) && /\S/.test(after)) return at + 1
  }
  return text.length > LONGEST ? text.length : 0
}

/** The pieces of a text file; together they are the text. */
export async function* textPieces(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let waiting = ''
  try {
    for await (const bytes of createReadStream(path, { highWaterMark: 2 ** 20 })) {
      waiting += decoder.decode(bytes, { stream: true })
      const cut = cutOf(waiting)
      if (cut > 0) yield waiting.slice(0, cut)
      waiting = waiting.slice(cut)
    }
    waiting += decoder.decode()
  } catch (error) {
    if (error instanceof TypeError) throw new Failure(`${path} is no text in UTF-8`)
    throw fileFailure('the data', path, error)
  }
  if (waiting !== '') yield waiting
}

export const isLines = (path: string) => /^\.(jsonl|ndjson)$/.test(extname(path))
export const isTokens = (path: string) => extname(path) === '.bin'

/** The texts of one file: pieces of it, or the documents of JSON Lines. */
export function textsOf(path: string, { field }: Pick<DataConfig, 'field'>): AsyncIterable<string> {
  return isLines(path) ? (jsonl(path, { field }) as AsyncIterable<string>) : textPieces(path)
}

/** Those of several files, one after the other. */
export async function* textsOfAll(
  paths: readonly string[],
  data: Pick<DataConfig, 'field'>,
): AsyncGenerator<string> {
  for (const path of paths) if (!isTokens(path)) yield* textsOf(path, data)
}
