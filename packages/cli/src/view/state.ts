import type { TrainEvent } from 'x-transformers/train'
import { Curve, type Point } from './curve.js'

/** How much the mean of the last losses follows each new one. */
const MEAN_WEIGHT = 0.05

/** What is known of a run, brought up to date by its events. */
export class RunState {
  step = 0
  seconds = 0
  share = 0
  lr = 0
  grad_norm: number | null = null
  tokens_per_second = 0
  /** A running mean over the last steps. */
  loss = Number.NaN
  readonly losses = new Curve()
  readonly validations: Point[] = []
  best: Point | null = null
  sample: { step: number; text: string } | null = null
  /** The steps before those of this process. */
  first = 0
  /** Of the whole run, where that is known. */
  readonly steps: number | null

  constructor(steps: number | null) {
    this.steps = steps
  }

  hear(event: TrainEvent): void {
    if (event.type === 'step') {
      const { step, seconds, share, lr, grad_norm, tokens_per_second, loss } = event
      Object.assign(this, { step, seconds, share, lr, grad_norm, tokens_per_second })
      if (Number.isNaN(this.loss)) [this.first, this.loss] = [step - 1, loss]
      this.losses.push(loss)
      const weight = Math.max(MEAN_WEIGHT, 1 / (step - this.first))
      this.loss += weight * (loss - this.loss)
    } else if (event.type === 'evaluation') {
      const point = [event.step, event.loss] as const
      this.validations.push(point)
      if (event.best) this.best = point
    } else if (event.type === 'sample') this.sample = event
  }

  /** The loss of the last evaluation. */
  get validation(): number | null {
    return this.validations.at(-1)?.[1] ?? null
  }

  /** The seconds that are left, if it goes on like this; null at the start. */
  get left(): number | null {
    return this.share > 0 ? Math.max(0, this.seconds / this.share - this.seconds) : null
  }
}
