/** Models of configurations: classes of the library with their options. */
import * as library from 'x-transformers'
import {
  AutoregressiveWrapper,
  Module,
  TransformerWrapper,
  XTransformersError,
} from 'x-transformers'
import type { ModelConfig } from '../config/schema.js'
import { UsageError, unknownName } from '../errors.js'

type Class = new (...args: unknown[]) => Module

const exported = library as unknown as Readonly<Record<string, unknown>>

const isClass = (value: unknown): value is Class =>
  typeof value === 'function' && value !== Module && value.prototype instanceof Module

/** The names of the classes of models. */
export const classNames = (): string[] =>
  Object.keys(exported).filter((name) => isClass(exported[name]))

export const isModel = (value: unknown): value is ModelConfig =>
  typeof value === 'object' && value !== null && 'class' in value

/**
 * Makes a model, and those within.
 *
 * @param path where the configuration has it, for errors
 */
export function buildModel(config: ModelConfig, path = 'model'): Module {
  const { class: name, options = {} } = config
  const Class = exported[name]
  if (!isClass(Class)) throw unknownName(`model (${path}.class)`, name, classNames())
  const built = Object.entries(options).map(([key, value]) => [
    key,
    isModel(value) ? buildModel(value, `${path}.options.${key}`) : value,
  ])
  const { net, ...own } = Object.fromEntries(built)
  try {
    // what wraps a model takes it before its options
    return name.endsWith('iveWrapper')
      ? new Class(net, own)
      : new Class({ ...own, ...(net && { net }) })
  } catch (error) {
    throw withPath(error, path)
  }
}

/** An error about options, with the places that they have in the configuration. */
function withPath(error: unknown, path: string): unknown {
  if (!(error instanceof XTransformersError)) return error
  const lines = error.problems.map(({ path: option, message, did_you_mean, allowed }) => {
    const hint = did_you_mean ? `; did you mean ${did_you_mean}?` : ''
    return `  ${path}.options.${option}: ${message}${hint || (allowed ? `; allowed: ${allowed}` : '')}`
  })
  return new UsageError(lines.length > 0 ? `the model:\n${lines.join('\n')}` : error.message)
}

type Options = Record<string, unknown>

/**
 * A configuration of a language model as it is made: with the wrapper that trains it, the size of
 * the vocabulary, and the length of a row.
 */
export function completeModel(
  given: ModelConfig,
  { num_tokens, length }: { num_tokens: number; length: number | undefined },
): ModelConfig {
  const wrapped =
    given.class === 'TransformerWrapper'
      ? { class: 'AutoregressiveWrapper', options: { net: given } }
      : given
  const { net } = wrapped.options as { net?: ModelConfig }
  if (wrapped.class !== 'AutoregressiveWrapper' || net?.class !== 'TransformerWrapper')
    throw new UsageError(
      'model: the command trains a TransformerWrapper with a Decoder, in an AutoregressiveWrapper; other models are trained with the Trainer of x-transformers/train',
    )
  const options: Options = net.options ?? {}
  const known = (options.num_tokens ?? num_tokens) as number
  if (known < num_tokens)
    throw new UsageError(
      `model: num_tokens is ${known}, and the tokenizer has ${num_tokens} tokens: leave it out, or raise it`,
    )
  const max_seq_len = options.max_seq_len ?? length
  if (max_seq_len === undefined)
    throw new UsageError('give max_seq_len of the TransformerWrapper, or train.length')
  const whole = { ...net, options: { ...options, num_tokens: known, max_seq_len } }
  return { ...wrapped, options: { ...wrapped.options, net: whole } }
}

/** A model that writes token by token. */
export interface LanguageModel {
  model: AutoregressiveWrapper
  num_tokens: number
  max_seq_len: number
}

/** @throws UsageError where it writes no tokens */
export function asLanguageModel(loaded: Module, where: string): LanguageModel {
  const model = loaded instanceof TransformerWrapper ? new AutoregressiveWrapper(loaded) : loaded
  if (!(model instanceof AutoregressiveWrapper)) {
    const name = loaded.constructor.name
    throw new UsageError(`${where} has a ${name}; an AutoregressiveWrapper is needed to write text`)
  }
  const { num_tokens, max_seq_len } = model.net.options
  return { model, num_tokens, max_seq_len }
}
