/** Where the weights of a model are that files of Hugging Face have. */
import { XTransformersError } from '../errors.js'
import type { Module } from '../module/module.js'
import { LORA_LAYERS } from '../module/submodule.js'
import { type Heads, type HuggingFaceModel, modulesOf } from './build.js'
import type { Json } from './config/read.js'
import { type Described, describeConfig } from './describe.js'
import { type Origin, originOf } from './origin.js'
import { requireSamePlan } from './same-plan.js'
import type { Place } from './weights/load.js'
import { placesOf } from './weights/places.js'

/** What is known of a model, with its configuration. */
export type Known = Pick<Origin, 'config'> & Partial<Origin>

/** What there is to write for a model. */
export function originFor(model: Module, config: Json | null = null): Known {
  const known = originOf(model)
  if (config !== null) return { ...known, config }
  if (known) return known
  throw new XTransformersError(
    'invalid_argument',
    'this model came neither from fromHuggingFace() nor from a preset: give { config }, the config.json that describes it',
  )
}

function refuseLora(module: Module): void {
  if (module[LORA_LAYERS]().length === 0) return
  throw new XTransformersError(
    'invalid_state',
    'the model has low-rank updates, which these files cannot hold: merge() them first, or save them alone',
  )
}

/** Whether the head of a model over its vocabulary is the embedding. */
function isTied(model: HuggingFaceModel): boolean {
  const options = model.options as { tie_embedding?: boolean; dec_tie_embedding?: boolean }
  return options.tie_embedding ?? options.dec_tie_embedding ?? false
}

/**
 * The configuration of a model: without the setting that ties its head where it has another one
 * than the embedding.
 */
export function configFor(model: HuggingFaceModel, { config, ignored }: Known): Json {
  const { family, found } = describeConfig(config, ignored)
  // of T5 the setting stands for a factor of the logits as well
  if (!found.tied || isTied(model) || family.kind === 'encoder-decoder') return config
  return { ...config, tie_word_embeddings: false }
}

/** Heads are modules of their own, which save() of the model and load() leave out. */
function requireHeads({ family, config, found }: Described, { names, heads = {} }: Known): void {
  // what was read is written as it was
  if (names?.size || !found.class?.includes('For')) return
  const plans = Object.keys(family.heads?.(config as never, found) ?? {})
  const wanted = plans.filter((name) => name !== 'pooler')
  if (wanted.length === 0 || wanted.some((name) => Object.hasOwn(heads, name))) return
  throw new XTransformersError(
    'invalid_argument',
    `config.json names the class ${found.class}, and the head of that is not known: load what the model came from with fromHuggingFace(), give that model these weights with loadStateDict(), and write it; or name a class without a head in architectures of { config }`,
  )
}

/**
 * The places of a model and its heads.
 *
 * @throws XTransformersError (`invalid_argument`) where the model is not the one that the
 *   configuration describes, or lacks its head; (`invalid_state`) where it has low-rank updates
 */
export function placesFor(model: HuggingFaceModel, origin: Known): Place[] {
  const heads: Heads = origin.heads ?? {}
  const described = describeConfig(origin.config, origin.ignored, {
    has: (name) => origin.names?.has(name) ?? false,
    tied: isTied(model),
  })
  requireSamePlan(described.plan, model)
  requireHeads(described, origin)
  for (const module of [model, ...modulesOf(heads)]) refuseLora(module)
  return placesOf(described, model, heads)
}
