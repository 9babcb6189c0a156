import { checkFlag, checkInteger, checkOptions, describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { tensor } from '../tensor/creation.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkRow, type IdRow } from './ids.js'
import type { PackedRow } from './packed.js'

const TWO_32 = 2 ** 32

/**
 * Rows of ids in an array of 64-bit numbers, `width` for each row. It is written as halves of 32
 * bits: a BigInt for each id would take ten times as long.
 */
class IdMatrix {
  readonly data: BigInt64Array
  readonly #halves: Uint32Array
  readonly #width: number

  constructor(rows: number, width: number) {
    this.data = new BigInt64Array(rows * width)
    this.#halves = new Uint32Array(this.data.buffer)
    this.#width = width
  }

  /** Puts ids into a row, from a column on. */
  set(row: number, column: number, ids: IdRow): void {
    const start = row * this.#width + column
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number | bigint
      if (typeof id === 'bigint') this.data[start + i] = id
      else if (Number.isSafeInteger(id)) {
        this.#halves[2 * (start + i)] = id
        this.#halves[2 * (start + i) + 1] = Math.floor(id / TWO_32)
      } else {
        const message = `row ${row} of the batch has ${describeValue(id)} at ${i}: ids are whole numbers`
        throw new XTransformersError('invalid_argument', message)
      }
    }
  }
}

function checkRows(examples: readonly unknown[], hint: string): IdRow[] {
  return examples.map((example, i) => {
    try {
      return checkRow(example, `example ${i} of the batch`)
    } catch (error) {
      const { code, message } = error as XTransformersError
      throw new XTransformersError(code, `${message}${hint}`, [], { cause: error })
    }
  })
}

/** Rows of one length as a tensor, (rows, length). */
function stacked(rows: readonly IdRow[], hint: string): Tensor {
  const width = rows[0]?.length ?? 0
  const matrix = new IdMatrix(rows.length, width)
  for (const [i, row] of rows.entries()) {
    if (row.length !== width) {
      const message = `the rows of a batch must have one length: row 0 has ${width} ids and row ${i} has ${row.length}${hint}`
      throw new XTransformersError('invalid_argument', message)
    }
    matrix.set(i, 0, row)
  }
  return tensor(matrix.data, { shape: [rows.length, width] })
}

/**
 * The batch of rows of ids: one i64 tensor, (rows, length), as the only argument of `forward`.
 *
 * @throws XTransformersError (`invalid_argument`) where the rows have several lengths, or where
 *   they are no ids
 */
export function collateIds(rows: readonly IdRow[]): [ids: Tensor] {
  const hint =
    ': give a collate_fn; for rows of packed() there is collatePacked, for images collateImages'
  return [
    stacked(checkRows(rows, hint), ': pad them with collate_fn: padded({ pad_id }), or cut them'),
  ]
}

/** What a `collate_fn` for packed rows gives: ids and the documents they are of, as arguments. */
export type PackedBatch = [ids: Tensor, options: { segment_ids: Tensor }]

/**
 * The batch of rows of {@link packed}: ids and documents, i64 tensors of shape (rows, length + 1).
 *
 * @example
 * const loader = new DataLoader(rows, { batch_size: 8, collate_fn: collatePacked })
 * for await (const [ids, { segment_ids }] of loader) { }
 */
export function collatePacked(rows: readonly PackedRow[]): PackedBatch {
  const part = (name: keyof PackedRow) =>
    stacked(
      checkRows(
        rows.map((row) => row?.[name]),
        `: collatePacked is for rows of packed(), with ids and segment_ids`,
      ),
      '',
    )
  const ids = part('ids')
  try {
    return [ids, { segment_ids: part('segment_ids') }]
  } catch (error) {
    ids.dispose()
    throw error
  }
}

/** Options of {@link padded}. */
export interface PaddedOptions {
  /** What stands behind the ids of a shorter row. */
  pad_id: number
  /**
   * Where it stands; `left` for prompts that are to be continued.
   *
   * @default 'right'
   */
  side?: 'left' | 'right' | undefined
  /**
   * For `AutoregressiveWrapper`, whose last id is a target alone: the mask has no column for it.
   *
   * @default false
   */
  autoregressive?: boolean | undefined
}

/** What {@link padded} gives: ids and their mask, as arguments of `forward`. */
export type PaddedBatch = [ids: Tensor, options: { mask: Tensor }]

/**
 * A `collate_fn` for rows of different lengths: fills each up to the longest, and gives a mask,
 * which is true where a token stands. Ids (i64) and mask (bool) have the shape (rows, longest);
 * with `autoregressive` the mask has that of what the model reads, (rows, longest - 1).
 *
 * The mask keeps attention from what was filled up. So that the loss leaves it out too, the
 * `ignore_index` of the model should be `pad_id`.
 *
 * @example
 * const collate_fn = padded({ pad_id: 0, autoregressive: true })
 * const loader = new DataLoader(dataset, { batch_size: 8, collate_fn })
 * for await (const batch of loader) await trainStep(model, optimizer, [batch])
 */
export function padded(options: PaddedOptions): (rows: readonly IdRow[]) => PaddedBatch {
  const own = checkOptions(options, 'padded()', ['pad_id', 'side', 'autoregressive'])
  const { pad_id, side = 'right' } = own
  const targets = checkFlag(own.autoregressive, 'autoregressive', false) ? 1 : 0
  const pad = checkInteger(pad_id, 'pad_id')
  if (side !== 'left' && side !== 'right') {
    const message = `side must be 'left' or 'right', got ${describeValue(side)}`
    throw new XTransformersError('invalid_argument', message)
  }
  return (given) => {
    const rows = checkRows(given, '')
    const width = rows.reduce((longest, { length }) => Math.max(longest, length), 0)
    const columns = Math.max(0, width - targets)
    const matrix = new IdMatrix(rows.length, width)
    matrix.data.fill(BigInt(pad))
    const mask = new Uint8Array(rows.length * columns)
    for (const [i, row] of rows.entries()) {
      const start = side === 'left' ? width - row.length : 0
      matrix.set(i, start, row)
      mask.fill(1, i * columns + start, i * columns + Math.min(columns, start + row.length))
    }
    return [
      tensor(matrix.data, { shape: [rows.length, width] }),
      { mask: tensor(mask, { shape: [rows.length, columns], dtype: 'bool' }) },
    ]
  }
}
