/** A run of a configuration, ready to begin. */
import { existsSync } from 'node:fs'
import { type AutoregressiveWrapper, type LoRA, manualSeed } from 'x-transformers'
import type { Tokenizer } from 'x-transformers/tokenizers'
import type { Config, ModelConfig } from '../config/schema.js'
import { UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { buildModel, completeModel } from '../model/build.js'
import { textsOfAll } from '../text/pieces.js'
import { makeTokenizer, readTokenizer } from '../text/tokenizer.js'
import { type Corpus, readCorpus, stepsOf } from './data.js'
import type { RunFolder } from './folder.js'
import { beginWith } from './init.js'
import { addLoRA } from './lora.js'
import { makeOptimizer, makeSchedule } from './optimizer.js'

export interface Session {
  /** With all that was decided. */
  config: Config
  /** Steps at most, those before a resume too; undefined: the run ends otherwise. */
  steps: number | undefined
  model: AutoregressiveWrapper
  /** What is trained in place of all weights, where the configuration asks for it. */
  lora: LoRA | null
  tokenizer: Tokenizer
  corpus: Corpus
  /** Tokens of a row. */
  length: number
}

export interface Preparing {
  signal: AbortSignal
  /** Hears of what takes a while. */
  note: (text: string) => void
}

/** Makes tokenizer, data and model. Nothing is written yet. */
export async function prepare(
  given: Config,
  folder: RunFolder,
  { signal, note }: Preparing,
): Promise<Session> {
  checkParts(given)
  manualSeed(given.seed)
  const { init } = given
  const first = folder.begun || init === undefined ? null : await beginWith(given, init, note)
  const tokenizer = first?.tokenizer ?? (await tokenizerFor(given, folder, signal))
  checkPrompt(given, tokenizer)
  note('Reading the data ...')
  const corpus = await readCorpus(given.data, tokenizer, signal)
  const decided = first?.config ?? given
  const sizes = { num_tokens: tokenizer.vocabSize, length: given.train.length }
  const model = completeModel(decided.model, sizes)
  const length = given.train.length ?? lengthOf(model)
  const config = { ...decided, model, train: { ...given.train, length } }
  const steps = stepsOf(corpus.train, length, given.train)
  const built = first?.model ?? (buildModel(model) as AutoregressiveWrapper)
  const lora = addLoRA(built, config)
  return { config, steps, model: built, lora, tokenizer, corpus, length }
}

/** Makes everything once that may be wrong, before data is read that may take long. */
function checkParts(config: Config): void {
  const { model, train } = config
  const parts = completeModel(model, { num_tokens: 2, length: train.length })
  if (train.length === undefined && lengthOf(parts) === 0)
    throw new UsageError('give train.length: the model has a max_seq_len of 0, so no longest row')
  const tried = buildModel(parts)
  addLoRA(tried, config)
  const optimizer = makeOptimizer(tried, train)
  makeSchedule(train, optimizer.lr)
  for (const part of [optimizer, tried]) part.dispose()
}

/** Samples come late in a run: what they begin with is tried before. */
function checkPrompt({ train }: Config, tokenizer: Tokenizer): void {
  try {
    if (train.sample) tokenizer.encode(train.sample.prompt)
  } catch (error) {
    throw new UsageError(`train.sample.prompt: ${(error as Error).message}`)
  }
}

/** The longest row that a model reads. */
const lengthOf = ({ options }: ModelConfig): number =>
  (options.net as { options: { max_seq_len: number } }).options.max_seq_len

/** A run that goes on keeps its tokenizer. */
async function tokenizerFor(
  { tokenizer, data }: Config,
  folder: RunFolder,
  signal: AbortSignal,
): Promise<Tokenizer> {
  const own = folder.file(FILES.tokenizer)
  if (folder.begun && existsSync(own)) return await readTokenizer(own)
  return await makeTokenizer(tokenizer, () => textsOfAll(data.files, data), signal)
}
