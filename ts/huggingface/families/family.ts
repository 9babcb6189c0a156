/** What a file of this folder says of a family of models. */

import type {
  DecoderOptions,
  EncoderOptions,
  TransformerWrapperOptions,
  ViTransformerWrapperOptions,
  XTransformerOptions,
} from '../../models/options.gen.js'
import type { Fields, Values } from '../config/fields.js'
import type { Json, Problems } from '../config/read.js'
import type { Rule } from '../weights/rules.js'

/** Options of ours by name. */
export type Options = Readonly<Record<string, unknown>>

/** The options of the model that a configuration describes. */
export type Plan =
  | { kind: 'decoder'; model: Around<TransformerWrapperOptions>; layers: DecoderOptions }
  | { kind: 'encoder'; model: Around<TransformerWrapperOptions>; layers: EncoderOptions }
  | { kind: 'vision'; model: Around<ViTransformerWrapperOptions>; layers: EncoderOptions }
  | { kind: 'encoder-decoder'; model: XTransformerOptions }

/** Options of a wrapper around layers that are not there yet. */
type Around<Options> = Omit<Options, 'attn_layers'>

/** What the tensors of the files tell, beside the configuration. */
export interface Found {
  /** Whether the files have a tensor of this name. */
  has(name: string): boolean
  /** The class of transformers that made them, if the configuration says so. */
  class: string | null
  /** Whether the head over the vocabulary is the embedding. */
  tied: boolean
}

/** A head of an encoder: its class, and the rules of its weights. */
export interface HeadPlan {
  /** Which class it is of; see heads.ts. */
  kind: 'pooler' | 'masked' | 'linear'
  /** The tensor of the files that tells that there is one. */
  when: string
  options: Options
  /** The names on the right are those within the head. */
  weights: readonly Rule[]
}

/** What stands for a model in options: the wrapper, and its layers where they are apart. */
type Mapping<C> =
  | {
      readonly kind: 'decoder'
      model(config: C, problems: Problems, found: Found): Around<TransformerWrapperOptions>
      layers(config: C, problems: Problems): DecoderOptions
    }
  | {
      readonly kind: 'encoder'
      model(config: C, problems: Problems, found: Found): Around<TransformerWrapperOptions>
      layers(config: C, problems: Problems): EncoderOptions
    }
  | {
      readonly kind: 'vision'
      model(config: C, problems: Problems, found: Found): Around<ViTransformerWrapperOptions>
      layers(config: C, problems: Problems): EncoderOptions
    }
  | {
      readonly kind: 'encoder-decoder'
      model(config: C, problems: Problems, found: Found): XTransformerOptions
    }

/** A family of models: what of its configuration and its weights is what of ours. */
export type Family<F extends Fields = Fields> = About<F> & Mapping<Values<F>>

interface About<F extends Fields> {
  /** Its name, for people. */
  readonly name: string
  /** `model_type` of its configurations. */
  readonly types: readonly string[]
  /** The classes of transformers that are covered. */
  readonly classes: readonly string[]
  /** The fields that are read, with the defaults of the class of transformers. */
  readonly fields: F
  /** What its names begin with, which files of the model without a head leave out. */
  readonly prefix: string
  /** The names of the weights. */
  weights(config: Values<F>): readonly Rule[]
  /**
   * The head over the vocabulary, whose weights may be those of the embedding: both names. A file
   * may have it though the configuration ties it.
   */
  readonly tied?: { readonly head: string; readonly embedding: string }
  /** Whether the configuration ties it. */
  ties?(config: Values<F>): boolean
  /** Names that stand for others in older files. */
  readonly renamed?: readonly (readonly [from: RegExp, to: string])[]
  /** Buffers that files may have, and that are no weights. */
  readonly buffers?: readonly RegExp[]
  /** Tensors that files may have beside the ones that they are copies of. */
  readonly copies?: Readonly<Record<string, string>>
  /** Tensors that transformers leaves unused too. */
  readonly unused?: readonly RegExp[]
  /** The heads of encoders, by name. */
  heads?(config: Values<F>, found: Found): Readonly<Record<string, HeadPlan>>
  /** The part of a configuration that is about the model: all of it, unless it is nested. */
  part?(json: Json): Json
}

/** The number of blocks that the rules of a family are to be written out for. */
export const blocksOf = (plan: Plan): number =>
  plan.kind === 'encoder-decoder'
    ? Math.max(plan.model.enc_depth, plan.model.dec_depth)
    : plan.layers.depth

/** A family with the types of its fields. */
export const family = <F extends Fields>(described: Family<F>): Family =>
  described as unknown as Family

/** A value for each layer as options take it: alone, where all layers have the same. */
export const perLayer = <T>(values: readonly T[]): T | readonly T[] =>
  values.every((value) => value === values[0]) ? (values[0] as T) : values

/** An option that is 0 unless it is said, such as a dropout. */
export const above0 = <Name extends string>(name: Name, value: number) =>
  (value > 0 ? { [name]: value } : {}) as { [N in Name]?: number }

/** What all decoders call their head. */
const HEADS = ['lm_head.weight', 'embed_out.weight']

/** Whether a decoder ends with its hidden state, as the classes without a head do. */
function isHeadless({ class: its, tied, has }: Found): boolean {
  if (its === null || !its.endsWith('Model') || its.endsWith('LMHeadModel')) return false
  return !tied && !HEADS.some(has)
}

/** The options for a configuration. */
export function planOf(
  { kind, ...family }: Family,
  config: Values<Fields>,
  problems: Problems,
  found: Found,
): Plan {
  const own = family.model(config, problems, found)
  const model = kind === 'decoder' && isHeadless(found) ? { ...own, return_only_embed: true } : own
  const layers = 'layers' in family ? family.layers(config, problems) : undefined
  return { kind, model, ...(layers && { layers }) } as Plan
}
