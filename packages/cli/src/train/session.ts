/** A run of a configuration, ready to begin. */
import { existsSync } from 'node:fs'
import { type AutoregressiveWrapper, load, manualSeed } from 'x-transformers'
import type { Tokenizer } from 'x-transformers/tokenizers'
import type { Config, ModelConfig } from '../config/schema.js'
import { Failure } from '../errors.js'
import { FILES } from '../files.js'
import { asLanguageModel, buildModel, completeModel } from '../model/build.js'
import { modelFile } from '../model/open.js'
import { textsOfAll } from '../text/pieces.js'
import { makeTokenizer, readTokenizer, tokenizerOf, writeTokenizer } from '../text/tokenizer.js'
import { type Corpus, readCorpus, stepsOf } from './data.js'
import type { RunFolder } from './folder.js'
import { makeOptimizer, makeSchedule } from './optimizer.js'

export interface Session {
  /** With all that was decided. */
  config: Config
  model: AutoregressiveWrapper
  tokenizer: Tokenizer
  corpus: Corpus
  /** Tokens of a row. */
  length: number
}

export interface Preparing {
  /** A trained model to begin with. */
  init: string | undefined
  signal: AbortSignal
  /** Hears of what takes a while. */
  note: (text: string) => void
}

/** Makes tokenizer, data and model, and writes down what was decided. */
export async function prepare(
  given: Config,
  folder: RunFolder,
  { init, signal, note }: Preparing,
): Promise<Session> {
  checkParts(given)
  manualSeed(given.seed)
  const first = init === undefined || folder.begun ? null : await readModel(init)
  const tokenizer = await tokenizerFor(given, folder, init, signal)
  note('Reading the data ...')
  const corpus = await readCorpus(given.data, tokenizer, signal)
  const wanted = first ? { class: 'AutoregressiveWrapper', options: optionsOf(first) } : given.model
  const sizes = { num_tokens: tokenizer.vocabSize, length: given.train.length }
  const model = completeModel(wanted, sizes)
  const length = given.train.length ?? lengthOf(model)
  const steps = stepsOf(corpus.train, length, given.train)
  const train = { ...given.train, length, ...(steps !== undefined && { steps }) }
  const config = { ...given, model, train }
  const built = first ?? (buildModel(model) as AutoregressiveWrapper)
  folder.clear()
  writeTokenizer(tokenizer, folder.path)
  folder.writeConfig(config)
  return { config, model: built, tokenizer, corpus, length }
}

/** Makes everything once that may be wrong, before data is read that may take long. */
function checkParts({ model, train }: Config): void {
  const parts = completeModel(model, { num_tokens: 2, length: train.length })
  const tried = buildModel(parts)
  const optimizer = makeOptimizer(tried, train)
  makeSchedule(train, optimizer.lr)
  for (const part of [optimizer, tried]) part.dispose()
}

const readModel = async (path: string) => asLanguageModel(await load(modelFile(path)), path).model

const optionsOf = (model: AutoregressiveWrapper) =>
  model.options as unknown as ModelConfig['options']

/** The longest row that a model reads. */
const lengthOf = ({ options }: ModelConfig): number =>
  (options.net as { options: { max_seq_len: number } }).options.max_seq_len

/** A run that goes on keeps its tokenizer; one that begins with a model takes that of it. */
async function tokenizerFor(
  { tokenizer, data }: Config,
  folder: RunFolder,
  init: string | undefined,
  signal: AbortSignal,
): Promise<Tokenizer> {
  const own = folder.file(FILES.tokenizer)
  if (folder.begun && existsSync(own)) return await readTokenizer(own)
  if (init === undefined)
    return await makeTokenizer(tokenizer, () => textsOfAll(data.files, data), signal)
  const found = await tokenizerOf(modelFile(init))
  if (found) return found
  throw new Failure(`there is no tokenizer.json beside ${init}`)
}
