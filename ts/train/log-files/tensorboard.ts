import { files } from '#files'
import type { TrainEvent } from '../events.js'
import type { Logger } from '../loggers.js'
import type { RunInfo } from '../run-info.js'
import { checkPath } from './jsonl.js'
import { LogFile } from './log-file.js'
import {
  type Moment,
  scalar,
  startRecord,
  summaryRecord,
  textValue,
  versionRecord,
} from './records.js'

/**
 * Writes a run for TensorBoard: loss, learning rate, norms of gradients and tokens per second of
 * each step, the losses of evaluations, samples and the options as texts. A run that goes on adds a
 * file to the folder, which takes the place of what was written behind its checkpoint; one that
 * begins takes the place of all of it.
 *
 * @param folder a path (Node), or `opfs:folder` (browser); it is made
 * @example
 * new Trainer(model, { ...options, loggers: [tensorboardLogger('runs/first')] })
 * // tensorboard --logdir runs
 */
export function tensorboardLogger(folder: string): Logger {
  const path = checkPath(folder, 'tensorboardLogger')
  let file: LogFile | null = null
  const now = (step: number): Moment => ({ seconds: Date.now() / 1000, step })
  return {
    async start(run) {
      file = await LogFile.open(await newFile(path))
      await file.write(versionRecord(now(0)))
      await file.write(startRecord(now(run.step === 0 ? 0 : run.step + 1)))
      await file.write(summaryRecord(now(run.step), [textValue('run', verbatim(optionsOf(run)))]))
      await file.flush()
    },
    async log(event) {
      const values = valuesOf(event)
      if ('step' in event && values.length > 0)
        await file?.write(summaryRecord(now(event.step), values))
      if (event.type !== 'step') await file?.flushCheaply()
    },
    async flush() {
      await file?.flush()
    },
    async close() {
      await file?.close()
    },
  }
}

const NAME = /^events\.out\.tfevents\.(\d+)\./

/** A name behind those of the folder: TensorBoard reads files in the order of their names. */
async function newFile(folder: string): Promise<string> {
  const names = (await files.list(folder)) ?? []
  const times = names.flatMap((name) => {
    const time = name.match(NAME)?.[1]
    return time === undefined ? [] : Number(time) + 1
  })
  const seconds = Math.max(Math.floor(Date.now() / 1000), ...times)
  const name = `events.out.tfevents.${String(seconds).padStart(10, '0')}.x-transformers`
  return /[/:]$/.test(folder) ? folder + name : `${folder}/${name}`
}

function valuesOf(event: TrainEvent): Uint8Array[] {
  switch (event.type) {
    case 'step': {
      const { loss, lr, grad_norm, tokens_per_second, grad_norms, activation_norms } = event
      return [
        ...scalars('train', { loss, lr, grad_norm, tokens_per_second }),
        ...scalars('grad_norms', grad_norms),
        ...scalars('activation_norms', activation_norms),
      ]
    }
    case 'evaluation':
      return scalars('eval', { loss: event.loss })
    case 'sample':
      return [textValue('sample', verbatim(event.text))]
    default:
      return []
  }
}

const scalars = (group: string, values: Record<string, number | null> | null) =>
  Object.entries(values ?? {}).flatMap(([name, value]) =>
    value === null ? [] : [scalar(`${group}/${name}`, value)],
  )

const optionsOf = (run: RunInfo) => JSON.stringify(run, null, 2)

/** Text that Markdown shows as it is. */
const verbatim = (text: string) => text.replace(/^/gm, '    ')
