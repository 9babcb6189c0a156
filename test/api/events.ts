/** Lines of runs, for loggers that are used alone. */
import type { MetricsLine, StepEvent } from 'x-transformers/train'

export const stepsOf = (lines: MetricsLine[]) =>
  lines.flatMap((line) => (line.type === 'step' ? line.step : []))

/** What a run says at the start, for a logger that is used alone. */
export const info = (step: number) => ({
  model: { class: 'Decoder', options: {} },
  ...{ num_parameters: 1, device: 'cpu', optimizer: { class: 'SGD', groups: [] }, step },
  ...{ version: '0', steps: 9, epochs: null, seconds: null, batch_size: null },
  ...{ grad_accum: 1, clip: null, clip_value: null },
})

export const stepEvent = (step: number): StepEvent => ({
  ...{ type: 'step', step, epoch: 0, loss: 1 / step, lr: 0.1, grad_norm: 1, tokens: 5 },
  ...{ grad_norms: null, activation_norms: null, seconds: step, tokens_per_second: 5, share: 0 },
})
