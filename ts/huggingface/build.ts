/** Models of ours, as a plan describes them. */
import { XTransformersError } from '../errors.js'
import {
  Decoder,
  Encoder,
  Linear,
  TransformerWrapper,
  ViTransformerWrapper,
  XTransformer,
} from '../models/index.js'
import type { Module } from '../module/module.js'
import { ENTRIES } from '../module/submodule.js'
import type { Tensor } from '../tensor/tensor.js'
import type { Described } from './describe.js'
import type { HeadPlan, Options, Plan } from './families/family.js'
import { MaskedHead, Pooler } from './heads.js'

/** A class of ours that a configuration of Hugging Face may describe. */
export type HuggingFaceModel = TransformerWrapper | ViTransformerWrapper | XTransformer

/** The heads of encoders. */
export interface Heads {
  /** (batch, dim), for tasks over the whole text, of the last hidden state. */
  pooler?: Pooler
  /** Logits over the vocabulary, of the last hidden state. */
  mlm?: MaskedHead
  /** Two logits, of what the pooler gives: whether the second sentence follows the first one. */
  nsp?: Linear
  /** Two logits, of what the pooler gives: whether the sentences are in their order. */
  sop?: Linear
  /** Logits of labels: of what the pooler gives, or for each token of the last hidden state. */
  classifier?: Linear
  /** Two logits for each token, of the last hidden state: where an answer begins, and ends. */
  qa?: Linear
}

/** All heads. */
export const modulesOf = (heads: Heads): Module[] => Object.values(heads)

/** The options are those of the plan: the constructor checks what they are. */
const as = <T>(options: Options): T => options as unknown as T

function make(plan: Plan): HuggingFaceModel {
  switch (plan.kind) {
    case 'encoder-decoder':
      return new XTransformer(plan.model)
    case 'vision':
      return new ViTransformerWrapper({ ...plan.model, attn_layers: new Encoder(plan.layers) })
    case 'encoder':
      return new TransformerWrapper({ ...plan.model, attn_layers: new Encoder(plan.layers) })
    case 'decoder':
      return new TransformerWrapper({ ...plan.model, attn_layers: new Decoder(plan.layers) })
  }
}

/**
 * A new model.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where the options do not go together
 */
export function build(plan: Plan): HuggingFaceModel {
  try {
    return make(plan)
  } catch (error) {
    if (!(error instanceof XTransformersError) || error.code !== 'invalid_options') throw error
    throw new XTransformersError(
      'invalid_checkpoint',
      `config.json describes no model of this package: ${error.message}`,
      error.problems,
      { cause: error },
    )
  }
}

const EMBEDDING = 'token_emb.emb.weight'

/** The embedding of the tokens, as the model has it. */
function embeddingOf(model: Module): Tensor {
  const entry = model[ENTRIES]().find(({ name }) => name === EMBEDDING)
  if (entry) return entry.source.tensor()
  throw new XTransformersError('internal', `a model with heads has no ${EMBEDDING}`)
}

function makeHead({ kind, options }: HeadPlan, model: Module): Module {
  if (kind === 'pooler') return new Pooler(options.dim as number)
  if (kind === 'linear') return new Linear(as(options))
  return new MaskedHead(as({ ...options, embedding: embeddingOf(model) }))
}

/** New heads for those that the files have. */
export function buildHeads({ family, config, found }: Described, model: Module): Heads {
  const heads: Record<string, Module> = {}
  for (const [name, plan] of Object.entries(family.heads?.(config as never, found) ?? {}))
    if (found.has(plan.when)) heads[name] = makeHead(plan, model)
  return heads as Heads
}
