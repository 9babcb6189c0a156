/**
 * Reports of training: pages that show what runs did.
 *
 * @packageDocumentation
 */
import '../symbols.js'

export { type AttentionOptions, attentionMaps } from './attention.js'
export { type DescribedModel, toPython, toTypeScript } from './code.js'
export type { AttentionMaps } from './data.js'
export { type ReportLoggerOptions, reportLogger } from './logger.js'
export {
  type ReportFile,
  type ReportOptions,
  type ReportRun,
  reportHtml,
  writeReport,
} from './report.js'
