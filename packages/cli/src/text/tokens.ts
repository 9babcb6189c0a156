/** The token ids of files. */
import { TokenArray, TokenFile, type Tokens } from 'x-transformers/data'
import type { Tokenizer } from 'x-transformers/tokenizers'
import type { DataConfig } from '../config/schema.js'
import { Failure, UsageError } from '../errors.js'
import { isLines, isTokens, textsOf } from './pieces.js'

/** How the files of a configuration are read. */
export type Reading = Pick<DataConfig, 'field' | 'dtype' | 'separator'>

/** Ids that are added one after the other, in as few bytes as they need. */
class Ids {
  #array: Uint16Array | Uint32Array
  #length = 0

  constructor(vocabulary: number) {
    this.#array = new (vocabulary <= 2 ** 16 ? Uint16Array : Uint32Array)(2 ** 16)
  }

  push(ids: readonly number[]): void {
    const needed = this.#length + ids.length
    if (needed > this.#array.length) {
      const Type = this.#array.constructor as Uint32ArrayConstructor
      const larger = new Type(Math.max(needed, this.#array.length * 2))
      larger.set(this.#array)
      this.#array = larger
    }
    this.#array.set(ids, this.#length)
    this.#length = needed
  }

  take(): Uint16Array | Uint32Array {
    return this.#array.subarray(0, this.#length)
  }
}

/** What stands between documents: a token of its own, where there is one, or an empty line. */
function separatorOf(tokenizer: Tokenizer, separator: string | undefined): number[] {
  if (separator !== undefined) {
    const id = tokenizer.specialTokens.get(separator)
    return id === undefined ? tokenizer.encode(separator) : [id]
  }
  const end = tokenizer.specialTokens.get('<|endoftext|>')
  if (end !== undefined) return [end]
  try {
    return tokenizer.encode('\n')
  } catch {
    return []
  }
}

/** Encodes texts, and lets other things happen between two of them. */
async function encodeFile(
  path: string,
  tokenizer: Tokenizer,
  { signal, ...reading }: Reading & { signal: AbortSignal | undefined },
  ids: Ids,
): Promise<void> {
  const between = isLines(path) ? separatorOf(tokenizer, reading.separator) : []
  for await (const text of textsOf(path, reading)) {
    signal?.throwIfAborted()
    try {
      ids.push([...encodeAll(tokenizer, text), ...between])
    } catch (error) {
      throw new Failure(`${path}: ${(error as Error).message}`)
    }
  }
}

const encodeAll = (tokenizer: Tokenizer, text: string): number[] =>
  tokenizer.encode(text, { add_special_tokens: false })

/** The ids of files, one after the other; a single file of ids is not read into memory. */
export async function readTokens(
  paths: readonly string[],
  tokenizer: Tokenizer | null,
  reading: Reading,
  signal?: AbortSignal,
): Promise<Tokens> {
  const [first, ...others] = paths
  if (first === undefined) throw new UsageError('there is no data: give --data FILE')
  const { dtype } = reading
  if (isTokens(first) && others.length === 0) return await TokenFile.open(first, { dtype })
  const ids = new Ids(tokenizer?.vocabSize ?? 2 ** 32)
  for (const path of paths) {
    if (isTokens(path)) {
      const file = await TokenFile.open(path, { dtype })
      ids.push(Array.from(await file.read(0, file.length)))
      await file.close()
    } else if (tokenizer) await encodeFile(path, tokenizer, { ...reading, signal }, ids)
    else throw new UsageError(`${path} is text: a tokenizer is needed`)
  }
  return new TokenArray(ids.take())
}

/** A part of a row of ids, without copying it. */
export function slice(tokens: Tokens, start: number, end: number): Tokens {
  return { length: end - start, read: (offset, length) => tokens.read(start + offset, length) }
}
