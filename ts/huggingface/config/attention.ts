/** Heads and windows, which most families say in the same words. */
import { perLayer } from '../families/family.js'
import type { Problems } from './read.js'

/** The fields about heads. */
export interface Heads {
  hidden_size: number
  num_attention_heads: number
  num_key_value_heads?: number | null
  head_dim?: number | null
}

/** The options about heads; a head is hidden_size / num_attention_heads wide unless it is said. */
export function headsOf(config: Heads, problems: Problems) {
  const { hidden_size: width, num_attention_heads: heads, head_dim } = config
  const groups = config.num_key_value_heads ?? heads
  if ((head_dim ?? null) === null && width % heads !== 0)
    problems.damaged(
      `hidden_size ${width} is not a multiple of num_attention_heads ${heads}, and there is no head_dim`,
    )
  if (heads % groups !== 0)
    problems.damaged(
      `num_attention_heads ${heads} is not a multiple of num_key_value_heads ${groups}`,
    )
  return {
    heads,
    attn_kv_heads: groups,
    attn_dim_head: head_dim ?? Math.max(1, Math.floor(width / heads)),
  }
}

/**
 * The window of each layer, by the names of `layer_types`: a token sees itself and `window` - 1
 * before it in the sliding ones, and everything before it in the others.
 */
export function windows(
  types: readonly string[],
  window: number | null,
): { attn_max_attend_past?: number | readonly (number | null)[] | null } {
  const past = types.map((type) =>
    type === 'sliding_attention' && window !== null ? window - 1 : null,
  )
  return past.some((one) => one !== null) ? { attn_max_attend_past: perLayer(past) } : {}
}

/** The kinds of layers, checked: those that are said, or else those of the class. */
export function layerTypes(
  given: readonly string[] | null,
  depth: number,
  fallback: (layer: number) => boolean,
  problems: Problems,
): readonly string[] {
  const kinds = ['full_attention', 'sliding_attention']
  if (given === null)
    return Array.from({ length: depth }, (_, n) => kinds[fallback(n) ? 1 : 0] as string)
  if (given.length !== depth)
    problems.damaged(`layer_types has ${given.length} entries, num_hidden_layers is ${depth}`)
  const other = given.find((type) => !kinds.includes(type))
  if (other !== undefined)
    problems.uncovered(
      `layer_types has ${JSON.stringify(other.slice(0, 80))}: covered are ${kinds.join(', ')}`,
    )
  return given
}
