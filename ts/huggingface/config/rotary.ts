/** Rotary positions, in the words of transformers 4 and 5, as options of ours. */
import type { RotaryScaling } from '../../models/options.gen.js'
import {
  type Field,
  type Fields,
  flag,
  list,
  nullable,
  positive,
  record,
  share,
  size,
  type Values,
} from './fields.js'
import { type Json, type Problems, readFields, shownName, shownValue } from './read.js'

/** The fields of a configuration that are about rotary positions. */
export const ROTARY = {
  rope_theta: nullable(positive(1)),
  rope_scaling: nullable(record()),
  rope_parameters: nullable(record()),
  partial_rotary_factor: nullable(share(1)),
} as const

/** The fields, and what is read besides. */
export interface RotaryConfig extends Values<typeof ROTARY> {
  max_position_embeddings: number
  original_max_position_embeddings?: number | null
}

/** The class's defaults. */
export interface RotaryDefaults {
  theta?: number
  partial?: number
  /** Older names of types. */
  aliases?: Readonly<Record<string, string>>
}

/** A number that is not given. */
const absent = <T>(of: Field<T>): Field<T | null> => nullable(of)

/** The fields of an entry, whatever its type. */
const ENTRY = {
  rope_theta: absent(positive(1)),
  partial_rotary_factor: absent(share(1)),
  factor: absent(positive(1)),
  low_freq_factor: absent(positive(1)),
  high_freq_factor: absent(positive(1)),
  original_max_position_embeddings: absent(size(1)),
  attention_factor: absent(positive(1)),
  beta_fast: absent(positive(1)),
  beta_slow: absent(positive(1)),
  mscale: absent(positive(1)),
  mscale_all_dim: absent(positive(1)),
  truncate: absent(flag(true)),
  short_factor: absent(list(positive(1))),
  long_factor: absent(list(positive(1))),
  // said of yarn by older files, and read by nobody
  finetuned: absent(flag(true)),
} as const satisfies Fields

type Entry = Values<typeof ENTRY>

/** The types of scaling that are covered. */
type RopeType = Exclude<RotaryScaling['rope_type'], 'proportional'>

/** What each type of scaling reads, and what it needs. */
const TYPES: Readonly<Record<RopeType, { reads: readonly (keyof Entry)[]; needs?: keyof Entry }>> =
  {
    linear: { reads: ['factor'], needs: 'factor' },
    dynamic: { reads: ['factor', 'original_max_position_embeddings'], needs: 'factor' },
    llama3: {
      reads: ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'],
      needs: 'factor',
    },
    yarn: {
      reads: [
        'factor',
        'original_max_position_embeddings',
        'attention_factor',
        'beta_fast',
        'beta_slow',
        'mscale',
        'mscale_all_dim',
        'truncate',
      ],
    },
    longrope: {
      reads: [
        'factor',
        'original_max_position_embeddings',
        'attention_factor',
        'short_factor',
        'long_factor',
      ],
      needs: 'short_factor',
    },
  }

/** The options of one kind of layers. */
export interface Rotary {
  rotary_base: number
  rotary_scaling: RotaryScaling | null
  rotary_partial_factor: number
}

/** The type that an entry names; null for none. */
function typeOf(json: Json, defaults: RotaryDefaults, problems: Problems): RopeType | null {
  const type = json.rope_type ?? json.type ?? null
  if (type === null || type === 'default') return null
  const name = typeof type === 'string' ? (defaults.aliases?.[type] ?? type) : null
  if (name !== null && Object.hasOwn(TYPES, name)) return name as RopeType
  problems.uncovered(
    `the rotary positions have the type ${shownValue(type)}, which is not covered: covered are default, ${Object.keys(TYPES).join(', ')}`,
  )
  return null
}

/** The length that a scaling begins at. */
function lengthOf(type: RopeType, entry: Entry, config: RotaryConfig, problems: Problems): number {
  const { max_position_embeddings: max, original_max_position_embeddings: top } = config
  const own = entry.original_max_position_embeddings
  if (type === 'longrope') return top ?? own ?? max
  if (type !== 'dynamic') return own ?? max
  if (own !== null && own !== max)
    problems.uncovered(
      `dynamic scaling from ${own} positions, which are not max_position_embeddings (${max}), is not covered`,
    )
  return max
}

function scalingOf(
  type: RopeType,
  entry: Entry,
  config: RotaryConfig,
  problems: Problems,
): RotaryScaling {
  const { reads, needs } = TYPES[type]
  if (needs !== undefined && entry[needs] === null)
    problems.damaged(`rotary positions of the type ${type} need ${needs}`)
  const original = lengthOf(type, entry, config, problems)
  const read = reads.filter((name) => entry[name] !== null).map((name) => [name, entry[name]])
  const given: Omit<RotaryScaling, 'rope_type'> = Object.fromEntries(read)
  if (type !== 'linear') given.original_max_position_embeddings = original
  // how much longer the text may be than what the model was first trained on
  given.factor ??= Math.max(1, config.max_position_embeddings / original)
  return { rope_type: type, ...given }
}

/** The options for an entry of a configuration. */
function optionsOf(
  json: Json,
  config: RotaryConfig,
  defaults: RotaryDefaults,
  problems: Problems,
): Rotary {
  const { rope_type: _, type: __, ...others } = json
  const unknown = Object.keys(others).filter((name) => !Object.hasOwn(ENTRY, name))
  for (const name of unknown)
    if (others[name] !== null)
      problems.uncovered(
        `the rotary positions have ${shownName(name)}, ${shownValue(others[name])}, which is not covered`,
      )
  const entry = readFields(others, ENTRY, { ignored: new Set(unknown) }, problems)
  const type = typeOf(json, defaults, problems)
  return {
    rotary_base: entry.rope_theta ?? config.rope_theta ?? defaults.theta ?? 10_000,
    rotary_scaling: type === null ? null : scalingOf(type, entry, config, problems),
    rotary_partial_factor:
      entry.partial_rotary_factor ?? config.partial_rotary_factor ?? defaults.partial ?? 1,
  }
}

/**
 * What is said of all layers: where a file has both words, transformers takes the older one as a
 * whole, unless it is empty.
 */
function entryOf({ rope_scaling: older, rope_parameters: newer }: RotaryConfig): Json {
  return older !== null && Object.keys(older).length > 0 ? older : (newer ?? {})
}

/** The rotary positions of all layers. */
export const rotaryOf = (config: RotaryConfig, problems: Problems, defaults: RotaryDefaults = {}) =>
  optionsOf(entryOf(config), config, defaults, problems)

/**
 * The rotary positions of each kind of layer, for families that have several: transformers 5 writes
 * an entry for each name of `layer_types`, transformers 4 `rope_theta` and `rope_scaling` for the
 * layers that see everything. Where a file has both, `rope_scaling` changes the entry of those.
 *
 * @param kinds the class's defaults by name of the kind of layer; of the sliding ones `theta` is
 *   what version 4 says of them
 */
export function rotaryByKind(
  config: RotaryConfig,
  problems: Problems,
  kinds: { full_attention: RotaryDefaults; sliding_attention: RotaryDefaults },
): { full_attention: Rotary; sliding_attention: Rotary } {
  const nested = config.rope_parameters
  const entry = (kind: keyof typeof kinds): Json => {
    const own = nested?.[kind]
    if (typeof own === 'object' && own !== null && !Array.isArray(own)) return own as Json
    problems.damaged(`rope_parameters must have an object ${kind}, got ${shownValue(own)}`)
    return {}
  }
  if (nested !== null) {
    const plain: RotaryConfig = { ...config, rope_theta: null }
    const full = { ...entry('full_attention'), ...config.rope_scaling }
    return {
      full_attention: optionsOf(full, plain, kinds.full_attention, problems),
      sliding_attention: optionsOf(
        entry('sliding_attention'),
        plain,
        kinds.sliding_attention,
        problems,
      ),
    }
  }
  const local: RotaryConfig = { ...config, rope_theta: null }
  return {
    full_attention: optionsOf(config.rope_scaling ?? {}, config, kinds.full_attention, problems),
    sliding_attention: optionsOf({}, local, kinds.sliding_attention, problems),
  }
}

/** What every count of positions fits into. */
const MAX_LENGTH = 2 ** 31 - 1

/** The longest text that rotary positions are made for. */
export function longest({ rotary_scaling: scaling }: Rotary, max: number): number {
  const { factor, original_max_position_embeddings: original } = scaling ?? {}
  // Llama 3.2 has a factor of 32, and is made for 16 times the original length
  if (scaling?.rope_type === 'llama3') return max
  if (typeof factor !== 'number' || typeof original !== 'number') return max
  return Math.max(max, Math.min(MAX_LENGTH, Math.floor(original * factor)))
}

/** The longest text, where all layers have the same positions: `max_seq_len`. */
export const longestOf = (
  config: RotaryConfig,
  problems: Problems,
  defaults: RotaryDefaults = {},
) => longest(rotaryOf(config, problems, defaults), config.max_position_embeddings)
