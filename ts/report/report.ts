import { checkList, checkOptions, isRecord, refuse } from '../checks.js'
import { type Source, saveTo, type Target } from '../io/sources.js'
import { type MetricsLine, metricsIn } from '../train/log-files/jsonl.js'
import type { AttentionMaps, RunData } from './data.js'
import { pageOf } from './html.js'
import { folderName } from './names.js'
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
  const { title } = checkReport(options, 'reportHtml()')
  const list = checkRuns(runs, 'runs, { name, metrics }')
  return pageOf({ title, runs: list.map(runData) })
}

function checkReport(options: ReportOptions, what: string): { title: string } {
  const { title } = checkOptions(options, what, ['title'])
  return { title: title ?? 'Training report' }
}

function checkRuns<Run>(runs: readonly Run[], of: string): Run[] {
  const list = checkList(runs, 'runs', of)
  if (list.length > 0) return list
  throw refuse('runs', 'an array with one run at least', 'none')
}

const recordOf = (name: string | undefined, i: number) => new RunRecord(name ?? `run ${i + 1}`)

function runData(run: ReportRun, i: number): RunData {
  if (!isRecord(run) || !Array.isArray(run.metrics))
    throw refuse(`runs[${i}]`, '{ name, metrics }, with what readMetrics gives', run)
  const record = recordOf(run.name, i)
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
  const { title } = checkReport(options, 'writeReport()')
  const list = checkRuns(runs, 'files of jsonlLogger, or of { name, metrics }')
  const data: RunData[] = []
  for (const [i, run] of list.entries()) data.push(await readRun(run, i))
  const html = pageOf({ title, runs: data })
  await saveTo(target, async () => new TextEncoder().encode(html))
}

async function readRun(run: Source | ReportFile, i: number): Promise<RunData> {
  const file: ReportFile =
    isRecord(run) && 'metrics' in run ? (run as ReportFile) : { metrics: run as Source }
  const { metrics, name = folderName(metrics), attention } = file
  if (isLines(metrics)) return runData({ name, metrics, attention }, i)
  const record = recordOf(name, i)
  // line by line: a file may be larger than memory
  for await (const line of metricsIn(metrics)) record.add(line)
  return record.data(attention)
}

const isLines = (metrics: unknown): metrics is readonly MetricsLine[] => Array.isArray(metrics)
