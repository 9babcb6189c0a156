import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { writeReport } from 'x-transformers/report'
import type { ReportSettings } from './commands/report.js'
import { Failure } from './errors.js'
import { FILES } from './files.js'
import { Output } from './output.js'

/** Writes a page about runs: `x-transformers report`. */
export async function report(runs: readonly string[], settings: ReportSettings): Promise<void> {
  const output = new Output(settings.json)
  const { out, title } = settings
  const files = runs.map(metricsOf)
  await writeReport(files, out, title === undefined ? {} : { title })
  output.result({ written: resolve(out), runs: files }, `${out} shows ${files.length} runs.`)
}

/** The metrics of a run, and its name. */
function metricsOf(run: string): { name: string; metrics: string } {
  const isFolder = existsSync(run) && statSync(run).isDirectory()
  const metrics = resolve(isFolder ? join(run, FILES.metrics) : run)
  if (existsSync(metrics)) return { name: basename(dirname(metrics)), metrics }
  throw new Failure(`there are no metrics of a run at ${metrics}`)
}
