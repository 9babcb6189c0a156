/** Who hears of a run. */
import type { TrainEvent } from './events.js'
import type { RunInfo } from './run-info.js'

/**
 * Hears of a run, such as to write it down. The run waits for each call; an error of one ends it.
 *
 * @example
 * const logger: Logger = {
 *   log: (event) => { if (event.type === 'evaluation') console.log(event.step, event.loss) },
 * }
 */
export interface Logger {
  /** Before the first step. */
  start?(run: RunInfo): void | Promise<void>
  /** For each event, before the caller of the run gets it. */
  log(event: TrainEvent): void | Promise<void>
  /**
   * Before a checkpoint is written: a run that goes on from it does not tell again what it has told
   * so far.
   */
  flush?(): void | Promise<void>
  /** At the end of the run, also after an error, and where `start` was never called. */
  close?(): void | Promise<void>
}

/** The loggers of a run, one after the other. */
export class Loggers {
  readonly #loggers: readonly Logger[]

  constructor(loggers: readonly Logger[]) {
    this.#loggers = loggers
  }

  async start(run: RunInfo): Promise<void> {
    // one that changes it tells the others nothing else
    for (const logger of this.#loggers) await logger.start?.(structuredClone(run))
  }

  async log(event: TrainEvent): Promise<void> {
    for (const logger of this.#loggers) await logger.log(event)
  }

  async flush(): Promise<void> {
    for (const logger of this.#loggers) await logger.flush?.()
  }

  /** Closes all of them; the first error comes when that is done. */
  async close(): Promise<void> {
    const errors: unknown[] = []
    for (const logger of this.#loggers) {
      try {
        await logger.close?.()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }
}
