import type { DoneEvent, StopReason } from './events.js'

/** The loss of the last steps is a mean over so many. */
const LAST_LOSSES = 50

/** How far a run is. */
export class Progress {
  step = 0
  /** Before the run was resumed. */
  seconds_before = 0
  /** The time of steps and of their data, in this process. */
  training_seconds = 0
  /** The tokens and steps of this process. */
  tokens = 0
  steps = 0
  losses: number[] = []
  eval_loss: number | null = null
  /** The step of the last evaluation, sample and checkpoint. */
  evaluated = -1
  sampled = -1
  saved = -1
  best: { step: number; loss: number } | null = null
  stale = 0
  checkpoint: string | null = null

  /** Counts a step. */
  add({ loss, tokens, seconds }: { loss: number; tokens: number; seconds: number }): void {
    this.step++
    this.steps++
    this.tokens += tokens
    this.training_seconds += seconds
    this.losses.push(loss)
    if (this.losses.length > LAST_LOSSES) this.losses.shift()
  }

  /** The last event of a run; `averages`: whether there are averages of the weights. */
  done(reason: StopReason, seconds: number, averages: boolean): DoneEvent {
    const { step: steps, loss, eval_loss, best, tokens_per_second, checkpoint } = this
    const ema = checkpoint !== null && averages ? `${checkpoint}/ema.safetensors` : null
    return {
      ...{ type: 'done', reason, steps, seconds, loss, eval_loss, best, tokens_per_second },
      ...{ checkpoint, ema },
    }
  }

  /** The mean loss of the last steps. */
  get loss(): number {
    return this.losses.reduce((a, b) => a + b, 0) / Math.max(1, this.losses.length)
  }

  /** The mean over the steps of this process. */
  get tokens_per_second(): number {
    return this.training_seconds > 0 ? this.tokens / this.training_seconds : 0
  }
}
