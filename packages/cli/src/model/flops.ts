/** Operations and memory of a model, by its shapes. */
import type { ModelDescription } from 'x-transformers'

type Options = Record<string, unknown>
type Named = { class: string; options: Options }

const isNamed = (value: unknown): value is Named =>
  typeof (value as Named | null)?.class === 'string'

/** The stacks of layers in a model, with their options. */
export function stacksOf({ class: name, options }: Named): Named[] {
  if (['Encoder', 'Decoder', 'CrossAttender', 'TransformerBlock'].includes(name))
    return [{ class: name, options }]
  return Object.values(options).flatMap((value) => (isNamed(value) ? stacksOf(value) : []))
}

/** Looked up, and not multiplied with. */
const LOOKED_UP = /(^|\.)(token_emb|pos_emb)\.|(^|\.)(mem_k|mem_v|memory_tokens|cls_token)$/

export interface Costs {
  /** Multiplications and additions of a forward, for each token of a row of `length`. */
  forward_flops_per_token: number
  /** Those of a step of training: the backward takes twice as much as the forward. */
  train_flops_per_token: number
  /** The keys and values that generation keeps of each token, in bytes. */
  kept_bytes_per_token: number
  weights_bytes: number
  gradients_bytes: number
  /** The two averages of AdamW. */
  adamw_bytes: number
}

const number = (value: unknown, otherwise: number) =>
  typeof value === 'number' ? value : otherwise

/** What the attention of one layer multiplies beside its weights, for each token of a row. */
function attentionFlops({ class: name, options }: Named, length: number): number {
  const heads = number(options.heads, 8)
  const key = number(options.attn_dim_head, 64)
  const value = number(options.attn_value_dim_head, key)
  const seen = Math.min(length, number(options.attn_max_attend_past, length))
  // of a decoder each position sees half of the others, on average
  const keys = name === 'Decoder' && seen === length ? (length + 1) / 2 : seen
  return 2 * heads * (key + value) * keys
}

/** The attentions of a stack, by the weights that it has. */
const countOf = (parameters: ModelDescription['parameters']) =>
  parameters.filter(({ name }) => /\.to_q\.weight$/.test(name)).length

/** The costs of a model, for rows of `length` tokens. */
export function costsOf(description: ModelDescription, length: number): Costs {
  const { parameters, bytes, num_parameters } = description
  const multiplied = parameters
    .filter(({ name, shape }) => shape.length >= 2 && !LOOKED_UP.test(name))
    .reduce((sum, { size }) => sum + size, 0)
  const stacks = stacksOf(description as Named)
  // attentions are shared out among the stacks by their depth, where there are several
  const depths = stacks.map(({ options }) => number(options.depth, 0))
  const depth = depths.reduce((a, b) => a + b, 0)
  const attentions = countOf(parameters)
  const each = (i: number) => (depth > 0 ? (attentions * (depths[i] as number)) / depth : 0)
  const scores = stacks.reduce((sum, stack, i) => sum + each(i) * attentionFlops(stack, length), 0)
  const tied = tiedHead(description as Named)
  const forward = 2 * (multiplied + tied) + scores
  return {
    forward_flops_per_token: Math.round(forward),
    train_flops_per_token: Math.round(3 * forward),
    kept_bytes_per_token: keptBytes(description),
    weights_bytes: bytes,
    gradients_bytes: num_parameters * 4,
    adamw_bytes: num_parameters * 8,
  }
}

/** A head that has the weights of the embedding multiplies with them. */
function tiedHead({ class: name, options }: Named): number {
  const inner = Object.values(options).filter(isNamed)
  if (name !== 'TransformerWrapper') return inner.reduce((sum, one) => sum + tiedHead(one), 0)
  if (!options.tie_embedding) return 0
  const dim = number(options.emb_dim, number(inner[0]?.options.dim, 0))
  return dim * number(options.num_tokens, 0)
}

/** Keys and values of self attentions, as wide as the projections that make them. */
function keptBytes(description: ModelDescription): number {
  const { parameters } = description
  const kept = selfAttentions(description)
  return parameters
    .filter(({ name }) => kept.has(name.replace(/\.to_[kv]\.weight$/, '')))
    .reduce((sum, { shape }) => sum + (shape[0] as number) * 4, 0)
}

/** The names of the self attentions that generation goes through. */
function selfAttentions({ parameters, class: name, options }: ModelDescription): Set<string> {
  const model = { class: name, options: options as Options }
  const isPair = name === 'XTransformer'
  const [stack] = isPair ? [model] : stacksOf(model)
  const attentions = parameters
    .flatMap(({ name }) => name.match(/^(.*)\.to_q\.weight$/)?.[1] ?? [])
    // an encoder reads its text once
    .filter((path) => !isPair || path.startsWith('decoder.'))
  return new Set(attentions.filter((_, i) => !stack || !isCross(stack, i)))
}

/** Whether an attention of a stack, by its place among them, is one to the context. */
function isCross({ class: name, options }: Named, place: number): boolean {
  const prefix = name === 'XTransformer' ? 'dec_' : ''
  const given = (key: string) => options[`${prefix}${key}`]
  const custom = given('custom_layers')
  if (Array.isArray(custom)) return custom.filter((kind) => kind !== 'f')[place] === 'c'
  if (name === 'CrossAttender') return true
  if (name !== 'XTransformer' && !options.cross_attend) return false
  if (given('only_cross')) return true
  // a sandwich begins with self attentions alone; else one of each kind follows the other
  const first = given('par_ratio') ? 0 : number(given('sandwich_coef'), 0)
  return place >= first && (place - first) % 2 === 1
}
