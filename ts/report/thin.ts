/** Fewer points of long series, so that a page stays small, and the memory of a long run too. */

/** Digits that a curve can show. */
const DIGITS = 6

/** Null, as for what is not finite: JSON has no word for it. */
export const rounded = (value: number | null): number | null =>
  value === null || !Number.isFinite(value) ? null : Number(value.toPrecision(DIGITS))

/**
 * Which points of a series are kept, at most about `most`: the lowest and the highest of as many
 * equal parts, and the last one, so that no peak is lost.
 */
export function extremes(values: readonly (number | null)[], most: number): number[] {
  if (values.length <= most) return values.map((_, i) => i)
  const parts = Math.max(1, Math.floor(most / 2))
  const kept = new Set<number>()
  for (let part = 0; part < parts; part++) {
    const start = Math.floor((part * values.length) / parts)
    const end = Math.floor(((part + 1) * values.length) / parts)
    for (const i of outermost(values.slice(start, end))) kept.add(start + i)
  }
  kept.add(values.length - 1)
  return [...kept].sort((a, b) => a - b)
}

/** The places of the first lowest and of the last highest value, in their order. */
function outermost(values: readonly (number | null)[]): number[] {
  let [low, high] = [0, 0]
  for (const i of values.keys()) {
    if (height(values[i]) < height(values[low])) low = i
    if (height(values[i]) >= height(values[high])) high = i
  }
  return low < high ? [low, high] : [high, low]
}

/** What is no number is a peak. */
const height = (value: number | null | undefined) =>
  value === null || value === undefined || Number.isNaN(value) ? Infinity : value

/** Which of `length` things are kept, at most `most`: evenly, the last one among them. */
export function evenly(length: number, most: number): number[] {
  const count = Math.min(length, most)
  return Array.from({ length: count }, (_, i) => Math.ceil(((i + 1) * length) / count) - 1)
}

/**
 * A series that is thinned while it grows: of equal parts, which become larger with it, some rows
 * are kept, and the last row of all. Up to its limit it has all rows.
 */
export class Series<Row> {
  readonly #most: number
  readonly #each: number
  readonly #choose: (rows: Row[]) => Row[]
  #kept: Row[] = []
  /** Rows in a part. */
  #size = 1
  /** What is kept of the part that is not full yet, and how many rows it has. */
  #part: Row[] = []
  #count = 0
  #last: Row | undefined

  /**
   * @param most of the rows, a multiple of `2 * each`
   * @param each how many rows are kept of a part
   * @param choose chooses as many of some more rows, in their order
   */
  constructor(most: number, each: number, choose: (rows: Row[]) => Row[]) {
    this.#most = most
    this.#each = each
    this.#choose = choose
  }

  /** Keeps the last row of each part. */
  static evenly<Row>(most: number): Series<Row> {
    return new Series<Row>(most, 1, (rows) => rows.slice(-1))
  }

  /** Keeps the rows with the lowest and the highest value of each part. */
  static extremes<Row>(most: number, value: (row: Row) => number | null): Series<Row> {
    return new Series<Row>(most, 2, (rows) => outermost(rows.map(value)).map((i) => rows[i] as Row))
  }

  add(row: Row): void {
    this.#last = row
    this.#part.push(row)
    if (this.#part.length > this.#each) this.#part = this.#choose(this.#part)
    if (++this.#count < this.#size) return
    this.#kept.push(...this.#part)
    this.#part = []
    this.#count = 0
    if (this.#kept.length >= this.#most) this.#thin()
  }

  /** Makes one part of two. */
  #thin(): void {
    const two = 2 * this.#each
    const kept: Row[] = []
    for (let at = 0; at < this.#kept.length; at += two)
      kept.push(...this.#choose(this.#kept.slice(at, at + two)))
    this.#kept = kept
    // at size 1 a part has one row, so `2 * each` parts become one
    this.#size *= this.#size === 1 ? two : 2
  }

  rows(): Row[] {
    const rows = [...this.#kept, ...this.#part]
    return this.#last === undefined || rows.at(-1) === this.#last ? rows : [...rows, this.#last]
  }
}
