/** What a run takes from the trained model that it begins with. */
import { type AutoregressiveWrapper, LoRA, load, type Module } from 'x-transformers'
import {
  BPETokenizer,
  ByteTokenizer,
  CharacterTokenizer,
  type Tokenizer,
} from 'x-transformers/tokenizers'
import { shown } from '../config/check.js'
import { isPath } from '../config/read.js'
import type { Config, ModelConfig, TokenizerConfig } from '../config/schema.js'
import { Failure, UsageError } from '../errors.js'
import { asLanguageModel, completeModel, isModel } from '../model/build.js'
import { modelFile, tokenizerFile } from '../model/files.js'
import { readOptionDocs } from '../model/option-docs.js'
import { readTokenizer } from '../text/tokenizer.js'

export interface Beginning {
  model: AutoregressiveWrapper
  tokenizer: Tokenizer
  /** With the model and the tokenizer that are used. */
  config: Config
}

/**
 * Reads the model that a run begins with. Low-rank updates that it has are merged into its weights.
 *
 * @param note hears of that
 * @throws UsageError where the configuration asks for another model or tokenizer
 */
export async function beginWith(
  given: Config,
  init: string,
  note: (text: string) => void,
): Promise<Beginning> {
  const file = modelFile(init)
  const path = tokenizerFile(file)
  if (path === null) throw new Failure(`there is no tokenizer.json beside ${init}`)
  const tokenizer = await readTokenizer(path)
  const { model, ...sizes } = asLanguageModel(await load(file), init)
  const options = JSON.parse(JSON.stringify(model.options)) as ModelConfig['options']
  const own = { class: 'AutoregressiveWrapper', options }
  const { num_tokens, max_seq_len: length } = sizes
  const wanted = completeModel(given.model, { num_tokens, length })
  const conflicts = differences(wanted, own, 'model')
  if (!(await isSame(given.tokenizer, tokenizer)))
    conflicts.push(`tokenizer: ${shown(given.tokenizer)}, and that of ${path}`)
  if (conflicts.length > 0) throw new UsageError(conflicting(init, conflicts))
  mergeUpdates(model, init, note)
  return { model, tokenizer, config: { ...given, model: own, tokenizer: path } }
}

const conflicting = (init: string, conflicts: readonly string[]) =>
  `the configuration asks for another model than ${init} is:\n${conflicts
    .map((line) => `  ${line}`)
    .join('\n')}\nLeave these out, and the run has them from ${init}; or leave out --init`

/** A run that goes on builds its model from the configuration, which knows of no updates. */
function mergeUpdates(model: Module, init: string, note: (text: string) => void): void {
  const updates = LoRA.of(model)
  for (const lora of updates) lora.merge()
  if (updates.length > 0) note(`The low-rank updates of ${init} are merged into its weights.`)
}

/** What a configuration says otherwise than a model; it need not say everything. */
function differences(given: unknown, own: unknown, path: string): string[] {
  if (isModel(given) && isModel(own) && given.class === own.class) {
    const there = own.options ?? {}
    return Object.entries(given.options ?? {}).flatMap(([key, value]) =>
      differences(value, there[key] ?? defaultOf(own.class, key), `${path}.options.${key}`),
    )
  }
  if (isObject(given) && isObject(own))
    return Object.entries(given).flatMap(([key, value]) =>
      differences(value, own[key], `${path}.${key}`),
    )
  const [asked, there] = [shown(given ?? null), shown(own ?? null)]
  return asked === there ? [] : [`${path}: ${asked}, and ${there} there`]
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The default of an option, as the documentation has it; undefined where that is in words. */
function defaultOf(name: string, option: string): unknown {
  const text = readOptionDocs()
    .get(name)
    ?.find((doc) => doc.name === option)?.default
  try {
    return JSON.parse(text?.replace(/^'(.*)'$/, '"$1"') ?? '')
  } catch {
    return undefined
  }
}

const KINDS = { char: CharacterTokenizer, byte: ByteTokenizer, bpe: BPETokenizer }

/** Whether it is a tokenizer of the kind that is asked for, or that of the file. */
async function isSame(asked: TokenizerConfig, own: Tokenizer): Promise<boolean> {
  const kind = typeof asked === 'string' ? asked : asked.type
  if (!isPath(kind)) return own instanceof KINDS[kind as keyof typeof KINDS]
  const other = await readTokenizer(kind)
  return JSON.stringify(other) === JSON.stringify(own)
}
