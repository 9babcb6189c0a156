/** The files of trained models, found by what a user names: a run, a checkpoint, or a file. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { Failure } from '../errors.js'
import { FILES } from '../files.js'
import { readJson } from '../json.js'

/** What makes a checkpoint whole: the trainer writes it last. */
const STATE = 'trainer.json'

/** The folder of a checkpoint in that of a run, by its step. */
export const CHECKPOINT = /^step-(\d+)$/

/** The whole checkpoints in the folder of a run, the last one first. */
export function checkpointsIn(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .flatMap((name) => name.match(CHECKPOINT)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a)
    .map((step) => join(folder, `step-${step}`))
    .filter((path) => existsSync(join(path, STATE)))
}

/** How far a run is, and its best evaluation. */
interface Place {
  step: number
  best: { step: number } | null
}

/**
 * The model that stands for a run: that of the best checkpoint, or of the last one.
 *
 * @param averaged whether it is the one with averaged weights
 */
export function bestModel(folder: string, { step, best }: Place, averaged: boolean): string | null {
  const name = averaged ? FILES.averages : FILES.model
  const steps = best ? [best.step, step] : [step]
  return steps.map((of) => join(folder, `step-${of}`, name)).find(existsSync) ?? null
}

/** The model of a run that has not come to its end. */
function unpublished(folder: string): string | null {
  const [last] = checkpointsIn(folder)
  if (last === undefined) return null
  const state = readJson(join(last, STATE), 'the checkpoint') as Place & { ema?: boolean }
  return bestModel(folder, state, state.ema === true)
}

/** The file with the weights of what a user names. */
export function modelFile(path: string): string {
  if (!existsSync(path)) throw new Failure(`there is no model at ${path}`)
  if (!statSync(path).isDirectory()) return resolve(path)
  const own = join(path, FILES.model)
  const found = existsSync(own) ? own : unpublished(path)
  if (found) return resolve(found)
  throw new Failure(`${path} has no ${FILES.model} and no checkpoint`)
}

/** The folder of a model, or those around it: it may be a file, a checkpoint, or a run. */
const around = (model: string) => [model, dirname(model), dirname(dirname(model))]

/** The folder of the run that a model is of; null where it is of none. */
export function runOf(model: string): string | null {
  return around(resolve(model)).find((folder) => existsSync(join(folder, FILES.config))) ?? null
}

/** The tokenizer beside a model, or that of the run that it is in; null where there is none. */
export function tokenizerFile(model: string): string | null {
  const files = around(model).map((folder) => join(folder, FILES.tokenizer))
  return files.find(existsSync) ?? null
}
