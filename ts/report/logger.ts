import { checkFunction, checkOptions } from '../checks.js'
import { saveTo } from '../io/sources.js'
import { checkPath, jsonlLogger, metricsIn } from '../train/log-files/jsonl.js'
import type { Logger } from '../train/loggers.js'
import type { AttentionMaps } from './data.js'
import { pageOf } from './html.js'
import { folderName } from './names.js'
import { RunRecord } from './record.js'

/** Options of {@link reportLogger}. */
export interface ReportLoggerOptions {
  /** @default 'Training report' */
  title?: string | undefined
  /** The name of the run; absent: that of the folder. */
  name?: string | undefined
  /**
   * Makes the attention maps of the report, with `attentionMaps`, each time that it is written;
   * null: it has none.
   */
  attention?: (() => AttentionMaps | null | Promise<AttentionMaps | null>) | undefined
  /** The file of the metrics; absent: `report.jsonl` beside `report.html`. */
  metrics?: string | undefined
}

/** So long after a page the next one is written, in milliseconds. */
const WAIT = 30_000

/**
 * Writes the report of a run while it goes on, after evaluations and samples, at most twice in a
 * minute, and at its end. It writes the metrics too, as `jsonlLogger` does, from which a run that
 * is resumed goes on: no logger of its own is needed for them.
 *
 * @param path a path (Node), or `opfs:folder/report.html` (browser)
 * @throws XTransformersError (`invalid_argument`, `invalid_options`)
 * @example
 * new Trainer(model, { ...options, loggers: [reportLogger('runs/first/report.html')] })
 */
export function reportLogger(path: string, options: ReportLoggerOptions = {}): Logger {
  const target = checkPath(path, 'reportLogger')
  const keys = ['title', 'name', 'attention', 'metrics']
  const { title, name, attention, ...files } = checkOptions(options, 'reportLogger()', keys)
  if (attention !== undefined && attention !== null) checkFunction(attention, 'attention')
  const lines = files.metrics ?? target.replace(/(\.html?)?$/i, '.jsonl')
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
      record = new RunRecord(name ?? folderName(target) ?? 'run')
      for await (const line of metricsIn(lines)) record.add(line)
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
