/** What a run takes from the trained model that it begins with. */
import { type AutoregressiveWrapper, load } from 'x-transformers'
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
import { asLanguageModel, completeModel } from '../model/build.js'
import { modelFile, tokenizerFile } from '../model/files.js'
import { readTokenizer } from '../text/tokenizer.js'

export interface Beginning {
  model: AutoregressiveWrapper
  tokenizer: Tokenizer
  /** With the model and the tokenizer that are used. */
  config: Config
}

/**
 * Reads the model that a run begins with.
 *
 * @throws UsageError where the configuration asks for another model or tokenizer
 */
export async function beginWith(given: Config, init: string): Promise<Beginning> {
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
  if (conflicts.length === 0)
    return { model, tokenizer, config: { ...given, model: own, tokenizer: path } }
  const lines = conflicts.map((line) => `  ${line}`).join('\n')
  throw new UsageError(`the configuration asks for another model than ${init} is:\n${lines}`)
}

/** What a configuration says otherwise than a model; it need not say everything. */
function differences(given: unknown, own: unknown, path: string): string[] {
  if (isObject(given) && isObject(own))
    return Object.entries(given).flatMap(([key, value]) =>
      differences(value, own[key], `${path}.${key}`),
    )
  const [asked, there] = [shown(given ?? null), shown(own ?? null)]
  return asked === there ? [] : [`${path}: ${asked}, and ${there} there`]
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const KINDS = { char: CharacterTokenizer, byte: ByteTokenizer, bpe: BPETokenizer }

/** Whether it is a tokenizer of the kind that is asked for, or that of the file. */
async function isSame(asked: TokenizerConfig, own: Tokenizer): Promise<boolean> {
  const kind = typeof asked === 'string' ? asked : asked.type
  if (!isPath(kind)) return own instanceof KINDS[kind as keyof typeof KINDS]
  const other = await readTokenizer(kind)
  return JSON.stringify(other) === JSON.stringify(own)
}
