/**
 * The folder with the checkpoints of a run: `step-250/`, each with `model.safetensors`,
 * `optimizer.safetensors`, where there are averages of the weights `ema.safetensors`, and, last of
 * all, `trainer.json`. A folder without the last one is of a run that ended while it was written,
 * and counts for nothing. So is one whose `trainer.json` was removed, which is how the removal of a
 * checkpoint begins.
 */

import { files } from '#files'
import { isCount } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { openSource, saveTo } from '../io/sources.js'
import { Promises } from '../promises.js'
import type { RandomState } from '../tensor/random.js'
import type { BatchesState } from './batches.js'
import type { EngineFiles } from './engine.js'

/** The file that makes a checkpoint whole. */
const STATE = 'trainer.json'

/** What a run knows beside weights and optimizer. */
export interface RunState {
  version: 1
  step: number
  /** The time so far. */
  seconds: number
  random: RandomState
  data: BatchesState
  /** The losses of the last steps. */
  losses: number[]
  eval_loss: number | null
  /** The steps of the last evaluation and of the last sample; -1: there was none. */
  evaluated: number
  sampled: number
  best: { step: number; loss: number } | null
  /** Evaluations since the best one. */
  stale: number
  /** Whether there are averages of the weights. */
  ema: boolean
}

export class RunFolder {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The path of the checkpoint of a step, or of a file in it. */
  path(step: number, file?: string): string {
    const separator = this.#folder.endsWith('/') || this.#folder.endsWith(':') ? '' : '/'
    return `${this.#folder}${separator}step-${step}${file ? `/${file}` : ''}`
  }

  /** The files of the tensors of a step. */
  files(step: number): EngineFiles {
    const [model, optimizer, ema] = ['model', 'optimizer', 'ema'].map((name) =>
      this.path(step, `${name}.safetensors`),
    ) as [string, string, string]
    return { model, optimizer, ema }
  }

  /** The steps that have a folder, in their order, and whether its checkpoint is whole. */
  async #found(): Promise<{ step: number; whole: boolean }[]> {
    const names = (await files.list(this.#folder)) ?? []
    const steps = names.flatMap((name) => name.match(/^step-(\d+)$/)?.[1] ?? [])
    const found = steps.map(async (text) => {
      const content = await files.list(this.path(Number(text)))
      return { step: Number(text), whole: content?.includes(STATE) ?? false }
    })
    return (await Promises.all(found)).sort((a, b) => a.step - b.step)
  }

  /** The steps with a checkpoint, in their order. */
  async steps(): Promise<number[]> {
    return (await this.#found()).filter(({ whole }) => whole).map(({ step }) => step)
  }

  /** Removes what a run has left unfinished. */
  async clean(): Promise<void> {
    for (const { step, whole } of await this.#found())
      if (!whole) await files.remove(this.path(step))
  }

  /** Writes a checkpoint; `writeTensors` writes weights and optimizer to where it is told. */
  async write(state: RunState, writeTensors: WriteTensors): Promise<string> {
    const { step } = state
    const folder = this.path(step)
    // one of that step is replaced: without this file it is none in between
    await files.remove(this.path(step, STATE))
    await files.makeFolder(folder)
    await writeTensors(this.files(step))
    const text = `${JSON.stringify(state, null, 2)}\n`
    await saveTo(this.path(step, STATE), async () => new TextEncoder().encode(text))
    return folder
  }

  /** Removes all checkpoints but the last ones and some that are named. */
  async prune(keep: number, kept: readonly (number | undefined)[]): Promise<void> {
    const steps = await this.steps()
    const old = steps.slice(0, Math.max(0, steps.length - keep))
    for (const step of old) {
      if (kept.includes(step)) continue
      await files.remove(this.path(step, STATE))
      await files.remove(this.path(step))
    }
  }

  /** @throws XTransformersError (`invalid_checkpoint`) where the file is damaged */
  async read(step: number): Promise<RunState> {
    const path = this.path(step, STATE)
    const input = await openSource(path)
    try {
      const { size } = input
      const bytes = await input.read(0, size ?? 2 ** 24)
      return checkState(JSON.parse(new TextDecoder().decode(bytes)), path)
    } catch (error) {
      if (error instanceof XTransformersError) throw error
      throw damaged(path, error)
    } finally {
      await input.close()
    }
  }
}

/** Writes weights and optimizer to these paths. */
export type WriteTensors = (files: EngineFiles) => Promise<void>

const damaged = (path: string, cause?: unknown) =>
  new XTransformersError(
    'invalid_checkpoint',
    `${path} is not what a Trainer has written: remove its folder to go on from an earlier one`,
    [],
    { cause },
  )

function checkState(state: Partial<RunState> | null, path: string): RunState {
  const { version, step, seconds, random, data, losses, stale } = state ?? {}
  // absent in those of runs that did not note it yet
  const { evaluated = -1, sampled = -1 } = state ?? {}
  const whole =
    version === 1 &&
    [step, random?.seed, random?.calls, data?.epoch, data?.position, stale].every(isCount) &&
    [seconds, evaluated, sampled].every(Number.isFinite) &&
    Array.isArray(losses)
  if (whole) return { ...(state as RunState), evaluated, sampled }
  throw damaged(path)
}

/** @throws XTransformersError (`invalid_checkpoint`) where only one of both runs has averages */
export function requireSameAverages(state: RunState, averages: boolean): void {
  if (Boolean(state.ema) === averages) return
  const [had, advice] = state.ema ? ['had', 'give ema'] : ['had no', 'leave ema out']
  const message = `the run of this checkpoint ${had} averages (ema): ${advice} to resume it`
  throw new XTransformersError('invalid_checkpoint', message)
}
