/** The report of a run, which is made of its metrics. */
import { type AttentionMaps, attentionMaps, writeReport } from 'x-transformers/report'
import type { Logger } from 'x-transformers/train'
import type { Session } from './session.js'

/** So long after a report the next one is written, in milliseconds. */
const WAIT = 30_000

/** The most tokens that the maps of attention show. */
const TOKENS = 48

export interface ReportFiles {
  /** What `jsonlLogger` writes, which comes before this logger in the list of a run. */
  metrics: string
  report: string
  /** What the run is called. */
  name: string
}

/** Writes the report while the run goes on, at most twice in a minute, and at its end. */
export function reportOf(session: Session, { metrics, report, name }: ReportFiles): Logger {
  let written = Number.NEGATIVE_INFINITY
  let sample = session.config.train.sample?.prompt ?? ''
  let begun = false
  const write = async () => {
    const attention = await attentionOf(session, sample)
    await writeReport([{ name, metrics, attention }], report, { title: name })
    written = performance.now()
  }
  return {
    start() {
      begun = true
    },
    async log(event) {
      if (event.type === 'sample') sample = event.text
      const shown = event.type === 'evaluation' || event.type === 'sample'
      if (shown && performance.now() - written > WAIT) await write()
    },
    async close() {
      if (begun) await write()
    },
  }
}

/** What the heads attend to in a text; null where there is none. */
async function attentionOf(
  { model, tokenizer, length }: Session,
  text: string,
): Promise<AttentionMaps | null> {
  const ids = tokenizer.encode(text).slice(0, Math.min(TOKENS, length))
  if (ids.length < 2) return null
  return await attentionMaps(
    model,
    ids,
    ids.map((id) => tokenizer.decode([id])),
  )
}
