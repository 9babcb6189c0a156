/** The report of a run, and its metrics. */
import { describe } from 'x-transformers'
import { type AttentionMaps, attentionMaps, reportLogger } from 'x-transformers/report'
import type { Logger } from 'x-transformers/train'
import type { Session } from './session.js'

/** The most tokens that the maps of attention show. */
const TOKENS = 48

export interface ReportFiles {
  metrics: string
  report: string
  /** What the run is called. */
  name: string
}

/** Writes metrics and report. The maps of attention are those of the last sample. */
export function reportOf(session: Session, { metrics, report, name }: ReportFiles): Logger {
  let sample = session.config.train.sample?.prompt ?? ''
  const attention = () => attentionOf(session, sample)
  const logger = reportLogger(report, { metrics, name, title: name, attention })
  return {
    ...logger,
    async log(event) {
      if (event.type === 'sample') sample = event.text
      await logger.log(event)
    },
  }
}

/** What the heads attend to in a text; null where there is none. */
async function attentionOf(
  { model, tokenizer, length }: Session,
  text: string,
): Promise<AttentionMaps | null> {
  const ids = tokenizer.encode(text).slice(0, Math.min(TOKENS, length))
  if (ids.length < 2 || !hasAttention(model)) return null
  return await attentionMaps(
    model,
    ids,
    ids.map((id) => tokenizer.decode([id])),
  )
}

/** Whether a model has any: its layers may be feed-forwards alone (custom_layers). */
const hasAttention = (model: Session['model']) =>
  describe(model).parameters.some(({ name }) => name.includes('.to_q.'))
