import cliProgress from 'cli-progress'
import { createLogUpdate } from 'log-update'
import wrapAnsi from 'wrap-ansi'
import type { TrainEvent } from 'x-transformers/train'
import { bytes, count, duration } from '../format.js'
import { drawLosses } from './curve.js'
import type { RunState } from './state.js'
import type { View } from './view.js'

/** How often it is drawn anew, in milliseconds. */
const BETWEEN = 200

const fixed = (value: number | null) =>
  value === null || Number.isNaN(value) ? '-' : value.toFixed(3)

const BAR = {
  barCompleteString: '█'.repeat(100),
  barIncompleteString: '░'.repeat(100),
  barCompleteChar: '█',
  barIncompleteChar: '░',
  barGlue: '',
}

/** A run on a terminal, which is drawn again and again in the same place. */
export class ScreenView implements View {
  readonly #stream: NodeJS.WriteStream
  readonly #state: RunState
  readonly #title: string
  readonly #update: ReturnType<typeof createLogUpdate>
  #timer: NodeJS.Timeout | null
  #note = ''

  constructor(stream: NodeJS.WriteStream, state: RunState, title: string) {
    this.#stream = stream
    this.#state = state
    this.#title = title
    this.#update = createLogUpdate(stream)
    this.#timer = setInterval(() => this.#draw(), BETWEEN)
    // a run that fails is not kept alive by its picture
    this.#timer.unref()
    this.#draw()
  }

  note(text: string): void {
    this.#note = text
    this.#draw()
  }

  hear(event: TrainEvent): void {
    if (event.type !== 'step') this.#draw()
  }

  /** Leaves the last picture, and the terminal as it was. */
  stop(): void {
    if (this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
    this.#draw()
    this.#update.done()
  }

  #draw(): void {
    const { columns = 80, rows = 24 } = this.#stream
    const title = this.#note ? `${this.#title}: ${this.#note}` : this.#title
    // a line that fills the terminal would be broken by some
    this.#update(render(this.#state, title, { columns: columns - 1, rows: rows - 1 }))
  }
}

/** The picture of a run, in at most so many lines of at most so many columns. */
export function render(
  state: RunState,
  title: string,
  { columns, rows }: { columns: number; rows: number },
): string {
  const head = [title, progressLine(state, columns), ...numberLines(state)]
  const fitting = head.map((line) => line.slice(0, columns))
  const left = Math.max(0, rows - fitting.length)
  const sample = sampleLines(state, columns, Math.min(8, Math.floor(left / 2)))
  const height = Math.min(12, left - sample.length - 3)
  const drawing = { width: columns, height, colours: true }
  const { losses, validations, first, step } = state
  const curve = height < 3 ? '' : drawLosses(losses.values, validations, [first, step], drawing)
  const legend = state.validations.length ? 'loss: training (blue), held-out (yellow)' : 'loss'
  const middle = curve ? ['', legend, ...curve.split('\n')] : []
  const lines = [...fitting, ...middle, ...sample].slice(0, rows)
  // log-update loses an empty line with which a picture grows
  return lines.map((line) => line || ' ').join('\n')
}

function progressLine({ share, step, steps, left }: RunState, columns: number): string {
  const width = Math.max(10, Math.min(40, columns - 50))
  const bar = cliProgress.Format.BarFormat(share, { ...BAR, barsize: width } as cliProgress.Options)
  const of = steps === null ? '' : ` of ${count(steps)}`
  const end = left === null ? '' : `, ${duration(left)} left`
  return `${bar} ${Math.floor(share * 100)} %  step ${count(step)}${of}${end}`
}

function numberLines(state: RunState): string[] {
  const { loss, validation, best, lr, grad_norm, tokens_per_second } = state
  const lowest = best === null ? '' : ` (best ${fixed(best[1])} at step ${count(best[0])})`
  const norm = grad_norm === null ? '' : `  gradient norm ${grad_norm.toPrecision(3)}`
  return [
    `loss ${fixed(loss)}  validation ${fixed(validation)}${lowest}`,
    `${count(tokens_per_second)} tokens/s  rate ${lr.toPrecision(3)}${norm}  ${memory()}`,
  ]
}

const memory = () => `memory ${bytes(process.memoryUsage.rss())}`

/** The control characters of a text would move the cursor. */
const CONTROL = /(?!\n)\p{Cc}/gu

function sampleLines({ sample }: RunState, columns: number, most: number): string[] {
  if (sample === null || most < 3) return []
  const lines = wrapAnsi(sample.text.replace(CONTROL, ''), columns, { hard: true, trim: false })
  return ['', `sample at step ${count(sample.step)}`, ...lines.split('\n').slice(0, most - 2)]
}
