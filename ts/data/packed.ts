import { checkOptions } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkCount, checkIndex } from './checks.js'
import type { Dataset } from './dataset.js'
import { checkRow, copyIds, greatestId, type IdRow, MAX_ID, type TokenIds, wrongId } from './ids.js'
import { checkStream, examplesOf, type Stream, type StreamLike } from './stream.js'
import { TokenArray } from './tokens.js'

/** Several documents in one row, or parts of them. */
export interface PackedRow {
  /** `length + 1` ids: each is the target of those before it. */
  ids: TokenIds
  /**
   * Which document each position is of, counted from 1 in each row; 0 where the row is filled up.
   */
  segment_ids: Uint32Array
}

/** Options of {@link packed}. */
export interface PackedOptions {
  /** How many ids the model reads at once. A row has one more: the last target. */
  length: number
  /** An id that is put behind each document. */
  eos?: number | undefined
  /**
   * What fills up the last row, which is left out otherwise. The positions are of document 0,
   * which losses leave out; without `segment_ids` the model's `ignore_index` should be this id.
   */
  pad_id?: number | undefined
}

/** Options that are checked. */
interface Packing {
  length: number
  end: readonly number[]
  pad: number | null
}

function checkPacking(options: PackedOptions): Packing {
  const { length, eos, pad_id } = checkOptions(options, 'packed()', ['length', 'eos', 'pad_id'])
  const id = (value: number, what: string) => {
    if (checkCount(value, what, 0) <= MAX_ID) return value
    throw wrongId(value, what, MAX_ID)
  }
  return {
    length: checkCount(length, 'length', 1),
    end: eos === undefined || eos === null ? [] : [id(eos, 'eos')],
    pad: pad_id === undefined || pad_id === null ? null : id(pad_id, 'pad_id'),
  }
}

/**
 * Puts documents one after the other and cuts them into rows of `length + 1` ids. The last id of a
 * row is the first of the next one, so that each id is a target once. Documents without ids are
 * passed over.
 *
 * With `segment_ids` a model sees each document as if it were alone.
 *
 * @param documents rows of ids. An array gives a dataset, which holds them all; anything else a
 *   stream, which holds one row and one document
 * @throws XTransformersError (`invalid_argument`) where something else than ids comes
 * @example
 * const rows = packed([[5, 6, 7], [8, 9]], { length: 4, eos: 0 })
 * rows.get(0) // { ids: [5, 6, 7, 0, 8], segment_ids: [1, 1, 1, 1, 2] }
 */
export function packed(documents: readonly IdRow[], options: PackedOptions): Dataset<PackedRow>
export function packed(documents: StreamLike<IdRow>, options: PackedOptions): Stream<PackedRow>
export function packed(
  documents: StreamLike<IdRow>,
  options: PackedOptions,
): Dataset<PackedRow> | Stream<PackedRow> {
  const packing = checkPacking(options)
  if (Array.isArray(documents)) return new PackedDataset(documents, packing)
  checkStream(documents, 'documents')
  return () => packedRows(documents, packing)
}

function checkDocument(document: IdRow, i: number): IdRow {
  const what = `documents[${i}]`
  const row = checkRow(document, what)
  greatestId(row, what)
  return row
}

/** A row that is being filled. */
class Row {
  readonly ids: Uint32Array
  readonly segment_ids: Uint32Array
  used = 0
  segment = 0

  constructor(length: number) {
    this.ids = new Uint32Array(length + 1)
    this.segment_ids = new Uint32Array(length + 1)
  }

  /** Takes ids of the document from a place on, and gives how many there was room for. */
  take(document: IdRow, from: number): number {
    const count = Math.min(document.length - from, this.ids.length - this.used)
    copyIds(document.slice(from, from + count) as IdRow, this.ids, this.used)
    this.segment_ids.fill(this.segment, this.used, this.used + count)
    this.used += count
    return count
  }
}

async function* packedRows(
  documents: StreamLike<IdRow>,
  { length, end, pad }: Packing,
): AsyncGenerator<PackedRow, void, undefined> {
  let row = new Row(length)
  let i = 0
  for await (const document of examplesOf(documents, 'documents')) {
    if (checkDocument(document, i++).length === 0) continue
    row.segment++
    for (const part of [document, end]) {
      for (let at = 0; at < part.length; ) {
        at += row.take(part, at)
        if (row.used <= length) continue
        yield { ids: row.ids, segment_ids: row.segment_ids }
        const last = row.ids[length] as number
        row = new Row(length)
        row.segment = 1
        row.take([last], 0)
      }
    }
  }
  // the id that the last row ended with has been a target already
  const left = row.used > 1 && pad !== null
  if (left) yield { ids: row.ids.fill(pad, row.used), segment_ids: row.segment_ids }
}

/** Rows of documents in memory. */
class PackedDataset implements Dataset<PackedRow> {
  readonly length: number
  readonly #tokens: TokenArray
  /** Where each document ends, from the first on. */
  readonly #ends: Float64Array
  readonly #row: number
  readonly #pad: number | null

  constructor(documents: readonly IdRow[], { length, end, pad }: Packing) {
    const full = documents.map(checkDocument).filter((row) => row.length > 0)
    const size = full.reduce((sum, row) => sum + row.length + end.length, 0)
    const ids = new Uint32Array(size)
    this.#ends = new Float64Array(full.length)
    let at = 0
    for (const [i, row] of full.entries()) {
      copyIds(row, ids, at)
      copyIds(end, ids, at + row.length)
      at += row.length + end.length
      this.#ends[i] = at
    }
    this.#tokens = new TokenArray(ids)
    this.#row = length
    this.#pad = pad
    const whole = (size - 1) / length
    this.length = Math.max(0, pad === null ? Math.floor(whole) : Math.ceil(whole))
    if (this.length === 0) throw tooFew(size, length, full.length)
  }

  get(index: number): PackedRow {
    checkIndex(index, 'index', this.length)
    const start = index * this.#row
    const count = Math.min(this.#row + 1, this.#tokens.length - start)
    let ids = this.#tokens.read(start, count)
    if (count <= this.#row) {
      const filled = new Uint32Array(this.#row + 1).fill(this.#pad ?? 0, count)
      filled.set(ids)
      ids = filled
    }
    return { ids, segment_ids: this.#segments(start, count) }
  }

  #segments(start: number, count: number): Uint32Array {
    const segments = new Uint32Array(this.#row + 1)
    let document = this.#documentAt(start)
    for (let at = 0, segment = 1; at < count; segment++, document++) {
      const end = Math.min(count, (this.#ends[document] as number) - start)
      segments.fill(segment, at, end)
      at = end
    }
    return segments
  }

  /** The document that the id at a place belongs to. */
  #documentAt(place: number): number {
    let [low, high] = [0, this.#ends.length - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ends[middle] as number) > place) high = middle
      else low = middle + 1
    }
    return low
  }
}

function tooFew(size: number, length: number, count: number): XTransformersError {
  return new XTransformersError(
    'invalid_argument',
    `a row of length ${length} has ${length + 1} ids, and the ${count} documents have only ${size}: give a smaller length, more documents, or a pad_id that fills up the last row`,
  )
}
