/** Trained models that write. */
import { basename } from 'node:path'
import { load, type Module } from 'x-transformers'
import type { Tokenizer } from 'x-transformers/tokenizers'
import { Failure } from '../errors.js'
import { tokenizerOf } from '../text/tokenizer.js'
import { asLanguageModel, type LanguageModel } from './build.js'
import { modelFile, runOf } from './files.js'

export interface Opened extends LanguageModel {
  /** The file of the weights. */
  file: string
  /** What it is called, such as the name of its run. */
  name: string
  tokenizer: Tokenizer | null
}

/** A model that writes, with its tokenizer. */
export async function openModel(path: string): Promise<Opened> {
  const file = modelFile(path)
  const loaded = await load<Module>(file)
  const run = runOf(file)
  return {
    ...asLanguageModel(loaded.eval(), path),
    file,
    name: basename(run ?? file).replace(/\.safetensors$/, ''),
    tokenizer: await tokenizerOf(file),
  }
}

/** As {@link openModel}, with a tokenizer: one that is missing is an error. */
export async function openWriter(path: string): Promise<Opened & { tokenizer: Tokenizer }> {
  const opened = await openModel(path)
  const { tokenizer, num_tokens, file } = opened
  if (!tokenizer)
    throw new Failure(
      `there is no tokenizer.json beside ${file}: put the one there that the model was trained with`,
    )
  if (tokenizer.vocabSize <= num_tokens) return { ...opened, tokenizer }
  throw new Failure(
    `the tokenizer beside ${file} has ${tokenizer.vocabSize} tokens, and the model ${num_tokens}: it belongs to another model`,
  )
}
