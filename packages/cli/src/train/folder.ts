/** The folder of a run. */
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { DoneEvent } from 'x-transformers/train'
import type { Config } from '../config/schema.js'
import { fileFailure, UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { bestModel, CHECKPOINT, checkpointsIn } from '../model/files.js'

export interface FolderSettings {
  resume?: boolean
  overwrite?: boolean
  /** What the file with the model is called, without its ending. */
  name?: string
}

/**
 * What is in a folder and is called as what a run writes.
 *
 * @param model what the file with the model is called
 */
export function runFiles(folder: string, model: string): string[] {
  const files: string[] = [...Object.values(FILES), model]
  return readdirSync(folder).filter((name) => CHECKPOINT.test(name) || files.includes(name))
}

export class RunFolder {
  readonly path: string

  readonly #model: string
  readonly #overwrite: boolean

  /**
   * @throws UsageError where files are in the folder that the run would write, and it is said
   *   neither to go on with the run that they are of nor to replace it
   */
  constructor(path: string, { resume = false, overwrite = false, name }: FolderSettings) {
    this.path = resolve(path)
    this.#model = name === undefined ? FILES.model : `${name}.safetensors`
    this.#overwrite = overwrite
    if (resume && overwrite) throw new UsageError('give --resume or --overwrite, not both')
    try {
      mkdirSync(this.path, { recursive: true })
    } catch (error) {
      throw fileFailure('the folder', path, error)
    }
    const [found] = runFiles(this.path, this.#model)
    if (!resume && !overwrite && found !== undefined)
      throw new UsageError(
        `${path} has a run already (${found}): --resume goes on with it, --overwrite replaces it`,
      )
  }

  /** Removes the run that is to be replaced; what the new one begins with was read before. */
  clear(): void {
    if (!this.#overwrite) return
    for (const name of runFiles(this.path, this.#model))
      rmSync(this.file(name), { recursive: true, force: true })
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** Whether there is something to go on with. */
  get begun(): boolean {
    return !this.#overwrite && checkpointsIn(this.path).length > 0
  }

  /** Writes the configuration, whole or not at all. */
  writeConfig(config: Config): void {
    const path = this.file(FILES.config)
    writeFileSync(`${path}.new`, `${JSON.stringify(config, null, 2)}\n`)
    renameSync(`${path}.new`, path)
  }

  /**
   * Puts the model of the best checkpoint, or of the last one, into the folder itself.
   *
   * @param averaged whether that is the one with averaged weights
   * @returns its path
   */
  publish({ best, steps }: Pick<DoneEvent, 'best' | 'steps'>, averaged: boolean): string {
    const from = bestModel(this.path, { step: steps, best }, averaged)
    const path = this.file(this.#model)
    if (from) {
      copyFileSync(from, `${path}.new`)
      renameSync(`${path}.new`, path)
    }
    return path
  }
}
