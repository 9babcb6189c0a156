// What run.mjs asks a page or a child process to do: hold one contender with one model, and time its work.
import { MODELS } from './models.js'

let contender

/** Loads a contender, a module with `create(spec, variant)`, for one of the models. */
export async function load(file, model, variant) {
  const { create } = await import(file)
  contender = await create(MODELS[model], variant)
}

/** What computes here, and on how many threads. */
export function info() {
  return contender.info()
}

/** The logits of the batch, (batch, length, num_tokens), row by row. */
export function logits() {
  return contender.logits()
}

/** Does the work, 'forward' or 'trainStep', so often; gives the milliseconds of each call, and what each call gave: a step its loss. */
export async function measure(work, calls) {
  const ms = []
  const values = []
  for (let call = 0; call < calls; call++) {
    const start = performance.now()
    values.push(await contender[work]())
    ms.push(performance.now() - start)
  }
  return { ms, values }
}
