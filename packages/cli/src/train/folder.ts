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
import { CONFIG_FILE } from '../config/read.js'
import type { Config } from '../config/schema.js'
import { fileFailure, UsageError } from '../errors.js'
import { MODEL_FILE } from '../model/open.js'
import { TOKENIZER_FILE } from '../text/tokenizer.js'

export const METRICS_FILE = 'metrics.jsonl'
export const REPORT_FILE = 'report.html'

const FILES = [CONFIG_FILE, TOKENIZER_FILE, MODEL_FILE, METRICS_FILE, REPORT_FILE]

export interface FolderSettings {
  resume?: boolean
  overwrite?: boolean
}

export class RunFolder {
  readonly path: string

  /**
   * @throws UsageError where an earlier run is in the folder, and it is said neither to go on with
   *   it nor to replace it
   */
  constructor(path: string, { resume = false, overwrite = false }: FolderSettings) {
    this.path = resolve(path)
    if (resume && overwrite) throw new UsageError('give --resume or --overwrite, not both')
    const earlier = this.#checkpoints()
    if (overwrite) for (const name of [...earlier, ...FILES]) this.#remove(name)
    else if (!resume && earlier.length > 0)
      throw new UsageError(
        `${path} has a run already: --resume goes on with it, --overwrite replaces it`,
      )
    try {
      mkdirSync(this.path, { recursive: true })
    } catch (error) {
      throw fileFailure('the folder', path, error)
    }
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** Whether there is something to go on with. */
  get begun(): boolean {
    return this.#checkpoints().length > 0
  }

  #checkpoints(): string[] {
    if (!existsSync(this.path)) return []
    return readdirSync(this.path).filter((name) => /^step-\d+$/.test(name))
  }

  #remove(name: string): void {
    rmSync(this.file(name), { recursive: true, force: true })
  }

  /** Writes the configuration, whole or not at all. */
  writeConfig(config: Config): void {
    const path = this.file(CONFIG_FILE)
    writeFileSync(`${path}.new`, `${JSON.stringify(config, null, 2)}\n`)
    renameSync(`${path}.new`, path)
  }

  /**
   * Puts the model of the best checkpoint, or of the last one, into the folder itself.
   *
   * @returns its path
   */
  publish({ best, steps }: Pick<DoneEvent, 'best' | 'steps'>): string {
    const candidates = [best?.step, steps].map((step) => this.file(`step-${step}/${MODEL_FILE}`))
    const from = candidates.find(existsSync)
    const path = this.file(MODEL_FILE)
    if (from) {
      copyFileSync(from, `${path}.new`)
      renameSync(`${path}.new`, path)
    }
    return path
  }
}
