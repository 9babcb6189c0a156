import { checkList, checkOptions, isRecord, refuse } from '../checks.js'
import { type Source, saveTo, type Target } from '../io/sources.js'
import { type MetricsLine, readMetrics } from '../train/log-files/jsonl.js'
import type { AttentionMaps, RunData } from './data.js'
import { pageOf } from './html.js'
import { RunRecord } from './record.js'

/** A run of which a report tells. */
export interface ReportRun {
  /** Absent: the folder of its file, else its number. */
  name?: string | undefined
  /** What `jsonlLogger` has written, as `readMetrics` gives it. */
  metrics: readonly MetricsLine[]
  /** What `attentionMaps` gives. */
  attention?: AttentionMaps | null | undefined
}

/** The same with a file, such as the path of it, in place of its lines. */
export type ReportFile = Omit<ReportRun, 'metrics'> & { metrics: Source | readonly MetricsLine[] }

/** Options of a report. */
export interface ReportOptions {
  /** @default 'Training report' */
  title?: string | undefined
}

/**
 * A report of one or several runs, as a page that needs nothing else: curves to zoom into, norms by
 * layer, samples over time, attention maps, and the model as text.
 *
 * @example
 * const metrics = await readMetrics('runs/first/metrics.jsonl')
 * const html = reportHtml([{ name: 'first', metrics }])
 * @throws XTransformersError (`invalid_argument`, `invalid_options`)
 */
export function reportHtml(runs: readonly ReportRun[], options: ReportOptions = {}): string {
  const { title } = checkOptions(options, 'reportHtml()', ['title'])
  const list = checkList(runs, 'runs', 'runs, { name, metrics }')
  if (list.length === 0) throw refuse('runs', 'an array with one run at least', 'none')
  return pageOf({ title: title ?? 'Training report', runs: list.map(runData) })
}

function runData(run: ReportRun, i: number): RunData {
  if (!isRecord(run) || !Array.isArray(run.metrics))
    throw refuse(`runs[${i}]`, '{ name, metrics }, with what readMetrics gives', run)
  const record = new RunRecord(run.name ?? `run ${i + 1}`)
  for (const line of run.metrics) record.add(line)
  return record.data(run.attention)
}

/**
 * Writes a report of one or several runs to a file: see {@link reportHtml}.
 *
 * @param runs the files of `jsonlLogger`, or `{ name, metrics, attention }`
 * @param target a path (Node), `opfs:folder/name.html` (browser), or what else can be saved to
 * @example
 * await writeReport(['runs/first/metrics.jsonl', 'runs/second/metrics.jsonl'], 'report.html')
 * @throws XTransformersError (`file`, `invalid_argument`, `invalid_options`)
 */
export async function writeReport(
  runs: readonly (Source | ReportFile)[],
  target: Target,
  options: ReportOptions = {},
): Promise<void> {
  const list = checkList(runs, 'runs', 'files of jsonlLogger, or of { name, metrics }')
  const read: ReportRun[] = []
  for (const run of list) read.push(await readRun(run))
  const html = reportHtml(read, options)
  await saveTo(target, async () => new TextEncoder().encode(html))
}

async function readRun(run: Source | ReportFile): Promise<ReportRun> {
  const file: ReportFile =
    isRecord(run) && 'metrics' in run ? (run as ReportFile) : { metrics: run as Source }
  const { metrics, name = nameOf(metrics), attention } = file
  const lines = isLines(metrics) ? metrics : await readMetrics(metrics)
  return { ...(name !== undefined && { name }), metrics: lines, attention }
}

const isLines = (metrics: unknown): metrics is readonly MetricsLine[] => Array.isArray(metrics)

/** The folder of a file, by which runs are told apart. */
function nameOf(metrics: unknown): string | undefined {
  if (typeof metrics !== 'string') return undefined
  return metrics.split(/[/\\:]/).at(-2) || undefined
}
