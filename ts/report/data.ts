/** What a report shows: the data that is written into the page. */
import type { DoneEvent } from '../train/events.js'
import type { RunInfo } from '../train/run-info.js'

/** Values of steps, column by column; null for what is not finite. */
export interface StepColumns {
  step: number[]
  loss: (number | null)[]
  lr: (number | null)[]
  grad_norm: (number | null)[]
  /** Of this step and those before it. */
  tokens: number[]
  tokens_per_second: (number | null)[]
  /** Since the start of the run. */
  seconds: number[]
}

/** A norm for each layer, `values[layer][i]` at `step[i]`; null where the layer had none. */
export interface LayerNorms {
  layers: string[]
  step: number[]
  values: (number | null)[][]
}

/** The attention maps of one text. */
export interface AttentionMaps {
  /** What stands beside rows and columns; memories come before the tokens. */
  queries: string[]
  keys: string[]
  /**
   * `layers[layer][head]`: the weights of each query in turn, a byte each, in base64. A byte of b
   * stands for the weight (b / 255)^2, so that small ones can be told apart.
   */
  layers: string[][]
}

/** One run of a report. */
export interface RunData {
  name: string
  info: RunInfo | null
  /** When it began, as `Date.prototype.toISOString` writes it. */
  started: string | null
  steps: StepColumns
  /** Null for a loss that is not finite. */
  evaluations: { step: number[]; loss: (number | null)[] }
  samples: { step: number; text: string }[]
  grad_norms: LayerNorms | null
  activation_norms: LayerNorms | null
  done: DoneEvent | null
  code: { typescript: string; python: string } | null
  attention: AttentionMaps | null
}

export interface ReportData {
  title: string
  runs: RunData[]
}
