/** What a run tells of itself before its first step. */
/** A model and its optimizer, in plain JSON. */
export interface ModelInfo {
  /** Class and options, as `describe()` gives them. */
  model: { class: string; options: unknown }
  /** Number of single weights. */
  num_parameters: number
  /** The device of the weights: `cpu`, or `cuda:0`. */
  device: string
  /** `groups`: the settings of each, and the number of its tensors as `params`. */
  optimizer: { class: string; groups: Record<string, unknown>[] }
}

/** What a {@link Logger} is told at the start: the options that JSON has words for. */
export interface RunInfo extends ModelInfo {
  /** The version of this package. */
  version: string
  /** The steps before: 0, or those of the checkpoint that the run goes on from. */
  step: number
  /** The end of the run; null where that is none. */
  steps: number | null
  epochs: number | null
  seconds: number | null
  /** Null where the data comes in batches. */
  batch_size: number | null
  grad_accum: number
  /** The largest norm of the gradients, and the largest size of their elements. */
  clip: number | null
  clip_value: number | null
}
