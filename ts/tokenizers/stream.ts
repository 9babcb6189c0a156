import { checkPushed, type TextStream } from './tokenizer.js'

const newDecoder = () => new TextDecoder('utf-8', { ignoreBOM: true })

/** The text of pieces of UTF-8, with U+FFFD for what is none. */
export function textOf(pieces: readonly Uint8Array[]): string {
  const size = pieces.reduce((sum, { length }) => sum + length, 0)
  const bytes = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return newDecoder().decode(bytes)
}

/** A stream of ids that stand for bytes. */
export class ByteStream implements TextStream {
  readonly #bytesOf: (id: number) => Uint8Array
  #decoder = newDecoder()

  /** @param bytesOf the bytes of an id; it throws where there are none */
  constructor(bytesOf: (id: number) => Uint8Array) {
    this.#bytesOf = bytesOf
  }

  push(ids: number | bigint | Iterable<number | bigint>): string {
    // all of them before the first is decoded: a bad id changes nothing
    const pieces = checkPushed(ids).map(this.#bytesOf)
    return pieces.map((piece) => this.#decoder.decode(piece, { stream: true })).join('')
  }

  end(): string {
    const rest = this.#decoder.decode()
    this.#decoder = newDecoder()
    return rest
  }
}

/** Most ids that are decoded again with each new one. */
const MAX_WINDOW = 32
/** How many of them stay when the window moves: what a token becomes may depend on those before. */
const CONTEXT = 8
/** Most bytes of a character that lack others: each may have become a U+FFFD. */
const MAX_HELD = 3

/**
 * A stream for decoders that give text alone, and for which the text of an id may depend on the
 * ids before it: the last ids are decoded again with each new one, and what is new is told.
 */
export class WindowStream implements TextStream {
  readonly #decode: (ids: readonly number[]) => string
  #ids: number[] = []
  /** How much of the text of these ids was told. */
  #told = 0

  constructor(decode: (ids: readonly number[]) => string) {
    this.#decode = decode
  }

  push(ids: number | bigint | Iterable<number | bigint>): string {
    const all = checkPushed(ids)
    // a bad id among them changes nothing
    if (all.length > 1) this.#decode(all)
    return all.map((id) => this.#add(id)).join('')
  }

  #add(id: number): string {
    const ids = [...this.#ids, id]
    const text = this.#decode(ids)
    this.#ids = ids
    const held = text.match(/\uFFFD*$/)?.[0].length ?? 0
    const told = this.#tell(text.slice(0, text.length - Math.min(held, MAX_HELD)))
    if (this.#ids.length >= MAX_WINDOW && (held === 0 || this.#ids.length >= 2 * MAX_WINDOW))
      this.#move(text)
    return told
  }

  #tell(text: string): string {
    const piece = text.slice(this.#told)
    this.#told = Math.max(this.#told, text.length)
    return piece
  }

  /** Forgets the oldest ids. */
  #move(text: string): void {
    const untold = text.length - this.#told
    this.#ids = this.#ids.slice(-CONTEXT)
    this.#told = Math.max(0, this.#decode(this.#ids).length - untold)
  }

  end(): string {
    const rest = this.#ids.length > 0 ? this.#tell(this.#decode(this.#ids)) : ''
    this.#ids = []
    this.#told = 0
    return rest
  }
}
