import { VERSION } from '../version.js'
import type { Engine } from './engine.js'
import type { TrainEvent } from './events.js'
import { Loggers } from './loggers.js'
import type { Run, RunHooks } from './run.js'
import type { RunInfo } from './run-info.js'
import type { CheckedOptions } from './trainer-options.js'

/** The events of a run, of which its loggers hear first; they are closed at its end. */
export async function* logged(
  run: Run,
  options: CheckedOptions,
): AsyncGenerator<TrainEvent, void, undefined> {
  const loggers = new Loggers(options.loggers)
  const hooks: RunHooks = {
    async start(engine) {
      if (options.loggers.length > 0) await loggers.start(await infoOf(run, engine, options))
    },
    before_checkpoint: () => loggers.flush(),
  }
  let failed = false
  try {
    for await (const event of run.events(hooks)) {
      await loggers.log(event)
      yield event
    }
  } catch (error) {
    failed = true
    throw error
  } finally {
    // why the run has ended is told first, and alone
    await loggers.close().catch((error) => {
      if (!failed) throw error
    })
  }
}

async function infoOf({ step }: Run, engine: Engine, options: CheckedOptions): Promise<RunInfo> {
  const { steps, epochs, seconds, batch_size, grad_accum, max_grad_norm } = options
  const finite = (value: number) => (value === Infinity ? null : value)
  return {
    ...(await engine.describe()),
    ...{ version: VERSION, step, batch_size, grad_accum, clip: finite(max_grad_norm) },
    ...{ steps: finite(steps), epochs: finite(epochs), seconds: finite(seconds) },
  }
}
