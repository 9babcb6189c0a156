/** What a config.json describes: the family, its fields, and options of ours. */
import { describeValue, isRecord } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { only } from './config/fields.js'
import { isOff, type Json, Problems, readFields, shownName } from './config/read.js'
import { WITHOUT_EFFECT } from './config/without-effect.js'
import { type Family, type Found, type Plan, planOf } from './families/family.js'
import { FAMILIES, familyOf } from './families/index.js'

/** A configuration that was understood. */
export interface Described {
  family: Family
  /** The values of the family's fields. */
  config: Readonly<Record<string, never>>
  plan: Plan
  found: Found
}

const uncovered = (message: string) => new XTransformersError('not_available', message)

function familyIn(json: Json): Family {
  const type = json.model_type
  if (typeof type !== 'string') {
    throw new XTransformersError(
      'invalid_checkpoint',
      `config.json must have a model_type, which says what kind of model it is, got ${describeValue(type)}`,
    )
  }
  const found = familyOf(type)
  if (found) return found
  const types = FAMILIES.flatMap(({ types }) => types).sort()
  throw uncovered(
    `models of the type ${shownName(type)} are not covered: there are ${types.join(', ')}`,
  )
}

/** The class that `architectures` names. */
function classIn(json: Json, { name, classes }: Family): string | null {
  const listed = json.architectures ?? []
  if (!Array.isArray(listed) || listed.some((one) => typeof one !== 'string'))
    throw new XTransformersError(
      'invalid_checkpoint',
      `architectures of config.json must be an array of strings, got ${describeValue(listed)}`,
    )
  const other = listed.find((one) => !classes.includes(one))
  if (other === undefined) return listed[0] ?? null
  throw uncovered(
    `the class ${shownName(other)} of ${name} is not covered: covered are ${classes.join(', ')}`,
  )
}

/** What is said of the whole file, whatever the family. */
function refuseQuantized(json: Json): void {
  const quantization = json.quantization_config ?? null
  if (isOff(quantization)) return
  const method = isRecord(quantization) ? quantization.quant_method : undefined
  throw uncovered(
    `quantized weights (quantization_config, ${describeValue(method)}) are not read: load the model that they were made from, and call quantize() of the model`,
  )
}

/** What every decoder may say; where it is false, tokens of transformers see those behind them. */
const OF_DECODERS = { is_causal: only<boolean | null>(true, null) }

/** The fields of a family, with those that it shares with others. */
const fieldsOf = ({ kind, fields }: Family) =>
  kind === 'decoder' || kind === 'encoder-decoder' ? { ...OF_DECODERS, ...fields } : fields

/** What the files tell beside the configuration. */
export interface Told {
  /** Whether the files have what rules call so. */
  has(name: string): boolean
  /** False where the head over the vocabulary is not the embedding, though it should be. */
  tied?: boolean
}

/**
 * What a config.json describes.
 *
 * @param ignored names of fields that change nothing, as the caller says
 * @throws XTransformersError (`not_available`) where a family or a setting is not covered;
 *   (`invalid_checkpoint`) where it is damaged
 */
export function describeConfig(
  json: Json,
  ignored: ReadonlySet<string> = new Set(),
  told: Told = { has: () => false },
): Described {
  const family = familyIn(json)
  refuseQuantized(json)
  const problems = new Problems()
  const names = { idle: WITHOUT_EFFECT, ignored }
  const config = readFields(family.part?.(json) ?? json, fieldsOf(family), names, problems)
  // what follows from values that are wrong would only be more of the same
  problems.throwIfAny()
  const found: Found = {
    has: told.has,
    class: classIn(json, family),
    tied: (told.tied ?? true) && (family.ties?.(config as never) ?? false),
  }
  const plan = planOf(family, config, problems, found)
  problems.throwIfAny()
  return { family, config: config as Described['config'], plan, found }
}
