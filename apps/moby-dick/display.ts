import { blue, plot, yellow } from 'asciichart'
import { SingleBar } from 'cli-progress'
import type { Progress, Run } from './trainer.js'

const SECONDS_BETWEEN_LINES = 5

/** What the user sees of the training: a bar in a terminal, else a line every few seconds. */
export class Display {
  readonly #stream: NodeJS.WriteStream
  readonly #bar: SingleBar | null
  #lastLine = Number.NEGATIVE_INFINITY

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    const format = '{bar} step {step}  loss {loss}  val {val}  {rate} tokens/s  {left} left'
    // The bar's own handling of Ctrl-C would end the process before anything is saved.
    const options = { format, stream, barsize: 16, hideCursor: true, gracefulExit: false, fps: 5 }
    this.#bar = stream.isTTY
      ? new SingleBar({ ...options, barCompleteChar: '█', barIncompleteChar: '░' })
      : null
  }

  write(text: string): void {
    this.#stream.write(text)
  }

  line(text = ''): void {
    this.write(`${text}\n`)
  }

  start(): void {
    this.#bar?.start(1, 0, { step: 0, loss: '-', val: '-', rate: '-', left: '-' })
  }

  update(progress: Progress): void {
    const fields = describe(progress)
    if (this.#bar) {
      this.#bar.update(Math.min(progress.share, 1), fields)
    } else if (progress.seconds - this.#lastLine >= SECONDS_BETWEEN_LINES || progress.share >= 1) {
      this.#lastLine = progress.seconds
      const { step, loss, val, rate, left } = fields
      this.line(`step ${step}  loss ${loss}  val ${val}  ${rate} tokens/s  ${left} left`)
    }
  }

  /** Leaves the terminal as it was, cursor included. */
  stop(): void {
    this.#bar?.stop()
  }

  /**
   * The losses as a curve: of the training, and in a terminal, where colours tell them apart, on
   * held-out text.
   */
  curve(run: Run): void {
    const width = Math.min(this.#stream.columns ?? 80, 100) - 14
    if (run.losses.length < 2) return
    const training = shrink(run.losses, width)
    const colours = this.#stream.isTTY
    const series = colours
      ? [training, stretch(run.valLosses, training.length, run.step)]
      : [training]
    this.line(colours ? '\nloss: training (blue), held-out text (yellow)' : '\nloss')
    this.line(plot(series, { height: 12, colors: colours ? [blue, yellow] : [] }))
  }
}

function describe({ step, share, seconds, loss, valLoss, tokensPerSecond }: Progress) {
  const left = Math.max(0, Math.round(seconds / share - seconds))
  return {
    step: String(step),
    loss: loss.toFixed(3),
    val: valLoss.toFixed(3),
    rate: Math.round(tokensPerSecond).toLocaleString('en-US'),
    left: `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`,
  }
}

/** At most `width` values: means of neighbours. */
function shrink(values: number[], width: number): number[] {
  const count = Math.min(width, values.length)
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [i, i + 1].map((at) => Math.floor((at * values.length) / count))
    const part = values.slice(from, to)
    return part.reduce((a, b) => a + b, 0) / part.length
  })
}

/** `count` values on straight lines between the points, over the steps from 0 to `steps`. */
function stretch(points: [step: number, value: number][], count: number, steps: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const step = (i / (count - 1)) * steps
    const after = points.findIndex(([at]) => at >= step)
    const [x1, y1] = points.at(after) as [number, number]
    const [x0, y0] = points[after - 1] ?? [x1, y1]
    return after <= 0 || x1 === x0 ? y1 : y0 + ((y1 - y0) * (step - x0)) / (x1 - x0)
  })
}
