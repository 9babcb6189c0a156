/** The folder of a run. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import type { DoneEvent } from 'x-transformers/train'
import type { Config } from '../config/schema.js'
import { fileFailure, UsageError } from '../errors.js'
import { FILES } from '../files.js'

export interface FolderSettings {
  resume?: boolean
  overwrite?: boolean
  /** What the file with the model is called, without its ending. */
  name?: string
}

export class RunFolder {
  readonly path: string

  readonly #model: string
  readonly #overwrite: boolean

  /**
   * @throws UsageError where an earlier run is in the folder, and it is said neither to go on with
   *   it nor to replace it
   */
  constructor(path: string, { resume = false, overwrite = false, name }: FolderSettings) {
    this.path = resolve(path)
    this.#model = name === undefined ? FILES.model : `${name}.safetensors`
    this.#overwrite = overwrite
    if (resume && overwrite) throw new UsageError('give --resume or --overwrite, not both')
    if (!resume && !overwrite && this.#checkpoints().length > 0)
      throw new UsageError(
        `${path} has a run already: --resume goes on with it, --overwrite replaces it`,
      )
    try {
      mkdirSync(this.path, { recursive: true })
    } catch (error) {
      throw fileFailure('the folder', path, error)
    }
  }

  /** Removes the run that is to be replaced; what the new one begins with was read before. */
  clear(): void {
    if (!this.#overwrite) return
    const files = [...Object.values(FILES), this.#model]
    for (const name of [...this.#checkpoints(), ...files])
      rmSync(this.file(name), { recursive: true, force: true })
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** Whether there is something to go on with. */
  get begun(): boolean {
    return !this.#overwrite && this.#checkpoints().length > 0
  }

  #checkpoints(): string[] {
    if (!existsSync(this.path)) return []
    return readdirSync(this.path).filter((name) => /^step-\d+$/.test(name))
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
    const name = averaged ? FILES.averages : FILES.model
    const candidates = [best?.step, steps].map((step) => this.file(`step-${step}/${name}`))
    const from = candidates.find(existsSync)
    const path = this.file(this.#model)
    if (from) {
      copyFileSync(from, `${path}.new`)
      renameSync(`${path}.new`, path)
    }
    return path
  }
}
