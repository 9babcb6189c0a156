import type { Command } from 'commander'
import { examples, jsonOption } from '../arguments.js'

export interface ReportSettings {
  out: string
  title?: string
  json?: boolean
}

export function addReport(program: Command): void {
  const command = program
    .command('report')
    .summary('show runs beside each other')
    .description(
      'Writes a page that compares runs: losses, rates, gradient norms, samples, speed. Each run has a report.html of its own already.',
    )
    .argument('<runs...>', 'folders of runs, or their metrics.jsonl')
    .option('--out <file>', 'the page to write', 'report.html')
    .option('--title <text>', 'what it is called')
    .addOption(jsonOption())
  examples(command, [['report runs/a runs/b --out compare.html', 'two runs on one page']])
  command.action(async (runs: string[], settings: ReportSettings) => {
    const { report } = await import('../report.js')
    await report(runs, settings)
  })
}
