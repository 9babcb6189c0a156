import { refuse } from '../../checks.js'
import { textLines } from '../../data/lines.js'
import { XTransformersError } from '../../errors.js'
import type { Source } from '../../io/sources.js'
import type { TrainEvent } from '../events.js'
import type { Logger } from '../loggers.js'
import type { RunInfo } from '../run-info.js'
import { LogFile } from './log-file.js'

/** The line that a run begins with, and each time that it goes on. */
export interface RunLine extends RunInfo {
  type: 'run'
  /** When, as `Date.prototype.toISOString` writes it. */
  time: string
}

/** A line of a file of metrics. */
export type MetricsLine = RunLine | TrainEvent

/**
 * Writes a run as JSON, a line for each event, and a {@link RunLine} before the first. A run that
 * goes on adds to the file, without the lines behind the checkpoint that it goes on from; one that
 * begins replaces what is there. Lines are on the disk a second later, and before each checkpoint;
 * a process that is killed leaves whole ones. In a browser, where adding to a file copies it, it is
 * a second for each MiB of the file.
 *
 * @param path a path (Node), or `opfs:folder/name` (browser); its folder is made
 * @example
 * new Trainer(model, { ...options, loggers: [jsonlLogger('runs/first/metrics.jsonl')] })
 */
export function jsonlLogger(path: string): Logger {
  const name = checkPath(path, 'jsonlLogger')
  let file: LogFile | null = null
  const write = async (line: MetricsLine) =>
    await file?.write(new TextEncoder().encode(`${JSON.stringify(line)}\n`))
  return {
    async start(run) {
      file = await LogFile.open(name)
      await file.cut(run.step === 0 ? 0 : lengthUntil(await file.read(), run.step))
      await write({ type: 'run', time: new Date().toISOString(), ...run })
      await file.flush()
    },
    async log(event) {
      await write(event)
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

/** @throws XTransformersError (`invalid_argument`) */
export function checkPath(path: unknown, what: string): string {
  if (typeof path === 'string' && path !== '') return path
  throw refuse(`what ${what} takes`, 'the path to write to', path)
}

const NEWLINE = 0x0a

/** The lines of a file, with their ends; what has no end is of a process that was killed. */
function* linesOf(bytes: Uint8Array): Generator<{ text: string; end: number }> {
  const decoder = new TextDecoder()
  for (let start = 0; ; ) {
    const end = bytes.indexOf(NEWLINE, start) + 1
    if (end === 0) return
    yield { text: decoder.decode(bytes.subarray(start, end - 1)), end }
    start = end
  }
}

/** The length of the lines up to the checkpoint of a step, whose own line may be missing. */
function lengthUntil(bytes: Uint8Array, step: number): number {
  let length = 0
  for (const { text, end } of linesOf(bytes)) {
    const line = parsed(text)
    if (line === null || line.type === 'done' || line.step > step) break
    length = end
    if (line.type === 'checkpoint' && line.step === step) break
  }
  return length
}

function parsed(text: string): MetricsLine | null {
  try {
    const line = JSON.parse(text) as MetricsLine | null
    return typeof line?.type === 'string' ? line : null
  } catch {
    return null
  }
}

/**
 * Reads what {@link jsonlLogger} has written; a last line that was cut off is left out. A number
 * that is not finite, such as the loss of an evaluation, has become null: JSON has no other.
 *
 * @throws XTransformersError (`file`); (`invalid_argument`) where a line is another one
 */
export async function readMetrics(source: Source): Promise<MetricsLine[]> {
  const lines: MetricsLine[] = []
  for await (const line of metricsIn(source)) lines.push(line)
  return lines
}

/** As {@link readMetrics}, line by line: a file may be larger than memory. */
export async function* metricsIn(source: Source): AsyncGenerator<MetricsLine, void, undefined> {
  let number = 0
  // the line before, where it is none: only the last one may be cut off
  let wrong: string | null = null
  for await (const text of textLines(source)) {
    if (wrong !== null) {
      const message = `line ${number} of the metrics is none of jsonlLogger: ${wrong.slice(0, 80)}`
      throw new XTransformersError('invalid_argument', message)
    }
    number++
    const line = parsed(text)
    if (line) yield line
    else wrong = text
  }
}
