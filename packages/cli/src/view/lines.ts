import type { TrainEvent } from 'x-transformers/train'
import { count, duration } from '../format.js'
import type { Output } from '../output.js'
import { drawLosses } from './curve.js'
import type { RunState } from './state.js'
import type { View } from './view.js'

const SECONDS_BETWEEN_LINES = 5

const DRAWING = { width: 80, height: 10, colours: false }

const fixed = (value: number | null) => (value === null ? '-' : value.toFixed(3))

/** A run as lines: for files, pipes and logs. */
export class LineView implements View {
  readonly #output: Output
  readonly #state: RunState
  #last = Number.NEGATIVE_INFINITY
  #stopped = false

  constructor(output: Output, state: RunState) {
    this.#output = output
    this.#state = state
  }

  hear(event: TrainEvent): void {
    if (event.type === 'step') this.#step()
    else if (event.type === 'evaluation')
      this.#line(`step ${event.step}  validation ${fixed(event.loss)}${event.best ? '  best' : ''}`)
    else if (event.type === 'sample') this.#line(`sample at step ${event.step}:\n${event.text}\n`)
  }

  note(text: string): void {
    this.#line(text)
  }

  #step(): void {
    const { step, seconds, share, loss, validation, tokens_per_second, left } = this.#state
    if (seconds - this.#last < SECONDS_BETWEEN_LINES && share < 1) return
    this.#last = seconds
    const rate = `${count(tokens_per_second)} tokens/s`
    const end = left === null ? '' : `  ${duration(left)} left`
    this.#line(`step ${step}  loss ${fixed(loss)}  val ${fixed(validation)}  ${rate}${end}`)
  }

  #line(text: string): void {
    this.#output.line(text)
  }

  /** The losses as a curve, once. */
  stop(): void {
    const { losses, first, step } = this.#state
    const curve = this.#stopped ? '' : drawLosses(losses.values, [], [first, step], DRAWING)
    if (curve) this.#line(`\nloss\n${curve}`)
    this.#stopped = true
  }
}
