import { checkFunction, checkOptions } from '../checks.js'
import { saveTo } from '../io/sources.js'
import { checkPath, jsonlLogger, readMetrics } from '../train/log-files/jsonl.js'
import type { Logger } from '../train/loggers.js'
import type { AttentionMaps } from './data.js'
import { pageOf } from './html.js'
import { RunRecord } from './record.js'

/** Options of {@link reportLogger}. */
export interface ReportLoggerOptions {
  /** @default 'Training report' */
  title?: string | undefined
  /** The name of the run; absent: that of the folder. */
  name?: string | undefined
  /** Makes the attention maps of the report, with `attentionMaps`, each time that it is written. */
  attention?: (() => AttentionMaps | Promise<AttentionMaps>) | undefined
}

/** So long after a page the next one is written, in milliseconds. */
const WAIT = 30_000

/**
 * Writes the report of a run while it goes on, after evaluations and samples, at most twice in a
 * minute, and at its end. Beside it, `report.jsonl` for `report.html`, stands what `jsonlLogger`
 * writes, from which a run that is resumed goes on.
 *
 * @param path a path (Node), or `opfs:folder/report.html` (browser)
 * @throws XTransformersError (`invalid_argument`, `invalid_options`)
 * @example
 * new Trainer(model, { ...options, loggers: [reportLogger('runs/first/report.html')] })
 */
export function reportLogger(path: string, options: ReportLoggerOptions = {}): Logger {
  const target = checkPath(path, 'reportLogger')
  const keys = ['title', 'name', 'attention']
  const { title, name, attention } = checkOptions(options, 'reportLogger()', keys)
  if (attention) checkFunction(attention, 'attention')
  const lines = target.replace(/(\.html?)?$/i, '.jsonl')
  const metrics = jsonlLogger(lines)
  let record: RunRecord | null = null
  let written = Number.NEGATIVE_INFINITY
  const write = async () => {
    if (record === null) return
    const run = record.data((await attention?.()) ?? null)
    const html = pageOf({ title: title ?? 'Training report', runs: [run] })
    await saveTo(target, async () => new TextEncoder().encode(html))
    written = performance.now()
  }
  return {
    async start(run) {
      await metrics.start?.(run)
      record = new RunRecord(name ?? target.split(/[/\\:]/).at(-2) ?? 'run')
      for (const line of await readMetrics(lines)) record.add(line)
    },
    async log(event) {
      await metrics.log(event)
      record?.add(event)
      const shown = event.type === 'evaluation' || event.type === 'sample'
      if (shown && performance.now() - written > WAIT) await write()
    },
    flush: () => metrics.flush?.(),
    async close() {
      await metrics.close?.()
      await write()
    },
  }
}
