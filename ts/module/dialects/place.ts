/** A stack of layers of a model, or a wrapper around one, as far as weights depend on it. */
import { XTransformersError } from '../../errors.js'

type Options = Readonly<Record<string, unknown>>

/** What a file of x-transformers 2 does not say itself. */
export interface Offsets {
  /** The option of the model in Python. */
  norm_add_unit_offset: boolean
}

/** A weight of a model. */
export interface Weight {
  /** Its name below its place, without levels `fn`. */
  name: string
  shape: readonly number[]
  place: Place
}

/** The number of heads of an attention. */
interface Heads {
  /** What the names of its weights begin with. */
  prefix: string
  queries: number
  keys: number
}

/** An error for what weights alone cannot make up for. */
const uncovered = (message: string) => new XTransformersError('not_available', message)

/** Whether the query heads of x-transformers 2 stand in another order. */
const differ = ({ queries, keys }: Heads) => keys !== 1 && keys !== queries

/** Where weights are: below one prefix of their names. */
export class Place {
  constructor(
    /** What the names begin with. */
    readonly prefix: string,
    /** The options of the layers, which the norms of a wrapper follow too. */
    private readonly options: Options,
    readonly file: Offsets,
    /** The shapes of the weights of the layers, by their names without prefix and levels `fn`. */
    private readonly shapes: ReadonlyMap<string, readonly number[]>,
  ) {}

  /** The width of the layers. */
  get width(): number {
    return this.options.dim as number
  }

  /** The number of heads of queries. */
  get heads(): number {
    return (this.options.heads as number | undefined) ?? 8
  }

  /** An option that is on or off, for all layers. */
  flag(name: string): boolean {
    const all = new Set([this.options[name] ?? false].flat() as boolean[])
    const [first = false] = all
    if (all.size < 2) return first
    throw uncovered(`weights of x-transformers 2 have the same ${name} in all layers`)
  }

  /** The number of the last sub-layer. */
  get last(): number {
    const numbers = [...this.shapes.keys()].map((name) => /^layers\.(\d+)\./.exec(name)?.[1] ?? 0)
    return Math.max(0, ...numbers.map(Number))
  }

  /** The heads of the attention that a weight belongs to; of a bias by distance, those of all. */
  headsOf(name: string): Heads {
    const own = /^layers\.\d+\.1\./.exec(name)?.[0]
    if (own !== undefined) return this.#headsBelow(own)
    const all = this.#attentions()
    const [first = { prefix: '', queries: this.heads, keys: this.heads }] = all
    if (all.every(({ keys }) => keys === first.keys)) return first
    throw uncovered(
      'a bias of the scores by head does not go with attn_kv_heads that differs by layer: heads have another order in each layer of x-transformers 2',
    )
  }

  /**
   * Checks that the order of the query heads may change.
   *
   * @throws XTransformersError (`not_available`) where heads differ by their place
   */
  checkOrder(): void {
    const moved = this.#attentions().filter(differ)
    if (moved.length === 0) return
    const { alibi_pos_bias, alibi_learned, residual_attn } = this.options
    const one = this.#attentions().every(({ keys }) => keys === moved[0]?.keys)
    if (residual_attn && !one)
      throw uncovered(
        'residual_attn does not go with attn_kv_heads that differs by layer: heads have another order in each layer of x-transformers 2',
      )
    const names = ['to_out.weight', 'to_out.0.weight'] // the latter with attn_on_attn
    if (!moved.every(({ prefix }) => names.some((name) => this.shapes.has(prefix + name))))
      throw uncovered(
        'attn_project_out: false with attn_kv_heads is not read from x-transformers 2, whose heads have another order, in the output too',
      )
    if (alibi_pos_bias && !alibi_learned)
      throw uncovered(
        'alibi_pos_bias with attn_kv_heads is not read from x-transformers 2, whose heads have another order: give the model alibi_learned, and its slopes after loading',
      )
  }

  #attentions(): Heads[] {
    const names = [...this.shapes.keys()].map((name) => /^(layers\.\d+\.1\.)to_q\./.exec(name)?.[1])
    return [...new Set(names)].flatMap((name) => (name === undefined ? [] : this.#headsBelow(name)))
  }

  #headsBelow(prefix: string): Heads {
    const rows = (name: string) => this.shapes.get(`${prefix}${name}.weight`)?.[0] ?? 0
    const queries = this.heads
    return { prefix, queries, keys: Math.round((rows('to_k') * queries) / rows('to_q')) }
  }
}
