/** Trained models: of runs, of checkpoints in them, and of files. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { load, type Module } from 'x-transformers'
import type { Tokenizer } from 'x-transformers/tokenizers'
import { Failure } from '../errors.js'
import { FILES } from '../files.js'
import { tokenizerOf } from '../text/tokenizer.js'
import { asLanguageModel, type LanguageModel } from './build.js'

/** The checkpoints in the folder of a run, the last one first. */
function checkpointsIn(folder: string): string[] {
  return readdirSync(folder)
    .flatMap((name) => name.match(/^step-(\d+)$/)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a)
    .map((step) => join(folder, `step-${step}`))
    .filter((path) => existsSync(join(path, 'trainer.json')))
}

/** The file with the weights of what a user names. */
export function modelFile(path: string): string {
  if (!existsSync(path)) throw new Failure(`there is no model at ${path}`)
  if (!statSync(path).isDirectory()) return resolve(path)
  const folders = [path, ...checkpointsIn(path)]
  const found = folders.map((folder) => join(folder, FILES.model)).find(existsSync)
  if (found) return resolve(found)
  throw new Failure(`${path} has no ${FILES.model} and no checkpoint`)
}

/** The folder of the run that a model is of; null where it is of none. */
export function runOf(model: string): string | null {
  const file = resolve(model)
  const folders = [file, dirname(file), dirname(dirname(file))]
  return folders.find((folder) => existsSync(join(folder, FILES.config))) ?? null
}

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
