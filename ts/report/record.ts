import type { DoneEvent, StepEvent } from '../train/events.js'
import type { MetricsLine, RunLine } from '../train/log-files/jsonl.js'
import { codeOf } from './code.js'
import type { AttentionMaps, LayerNorms, RunData, StepColumns } from './data.js'
import { evenly, extremes, rounded, Series } from './thin.js'

/** Most points of a curve, columns of a heat map, samples, and characters of one. */
const [POINTS, COLUMNS, SAMPLES, CHARACTERS] = [3000, 300, 200, 20_000]

/** How much more is kept while a run goes on, of which its end chooses. */
const MORE = 4

type Numbers = Record<string, number | null>

/** Norms by layer, step by step. */
class Norms {
  readonly #rows = Series.evenly<{ step: number; norms: Numbers }>(MORE * COLUMNS)

  add(step: number, norms: Numbers | null | undefined): void {
    if (norms) this.#rows.add({ step, norms })
  }

  data(): LayerNorms | null {
    const rows = chosen(this.#rows, COLUMNS)
    if (rows.length === 0) return null
    const layers = [...new Set(rows.flatMap(({ norms }) => Object.keys(norms)))]
    return {
      layers,
      step: rows.map(({ step }) => step),
      values: layers.map((layer) => rows.map(({ norms }) => rounded(norms[layer] ?? null))),
    }
  }
}

/** At most so many rows of a series, evenly. */
function chosen<Row>(series: Series<Row>, most: number): Row[] {
  const rows = series.rows()
  return evenly(rows.length, most).map((i) => rows[i] as Row)
}

type StepRow = { [Name in keyof StepColumns]: StepColumns[Name][number] }

const NAMES = [
  ...['step', 'loss', 'lr', 'grad_norm', 'tokens', 'tokens_per_second', 'seconds'],
] as (keyof StepRow)[]

/** Gathers a run from its lines; a long one takes no more memory than one of some 10,000 steps. */
export class RunRecord {
  readonly #name: string
  #info: RunLine | null = null
  #started: string | null = null
  #done: DoneEvent | null = null
  #tokens = 0
  readonly #steps = Series.extremes<StepRow>(MORE * POINTS, ({ loss }) => loss)
  readonly #evaluations = Series.extremes<{ step: number; loss: number | null }>(
    MORE * POINTS,
    ({ loss }) => loss,
  )
  readonly #samples = Series.evenly<{ step: number; text: string }>(MORE * SAMPLES)
  readonly #grad_norms = new Norms()
  readonly #activation_norms = new Norms()

  constructor(name: string) {
    this.#name = name
  }

  add(line: MetricsLine): void {
    if (line.type === 'run') {
      this.#started ??= line.time
      this.#info = line
      this.#done = null
    } else if (line.type === 'step') this.#addStep(line)
    else if (line.type === 'evaluation')
      this.#evaluations.add({ step: line.step, loss: rounded(line.loss) })
    else if (line.type === 'sample')
      this.#samples.add({ step: line.step, text: line.text.slice(0, CHARACTERS) })
    else if (line.type === 'done') this.#done = line
  }

  #addStep(event: StepEvent): void {
    const { step, loss, lr, grad_norm, tokens, tokens_per_second, seconds } = event
    this.#tokens += tokens
    this.#steps.add({ step, loss, lr, grad_norm, tokens: this.#tokens, tokens_per_second, seconds })
    this.#grad_norms.add(step, event.grad_norms)
    this.#activation_norms.add(step, event.activation_norms)
  }

  /** What a page shows of it. */
  data(attention: AttentionMaps | null = null): RunData {
    const evaluations = this.#evaluations.rows()
    return {
      ...{ name: this.#name, info: this.#info, started: this.#started, done: this.#done },
      steps: this.#columns(),
      evaluations: {
        step: evaluations.map(({ step }) => step),
        loss: evaluations.map(({ loss }) => loss),
      },
      samples: chosen(this.#samples, SAMPLES),
      grad_norms: this.#grad_norms.data(),
      activation_norms: this.#activation_norms.data(),
      code: this.#info && codeOf(this.#info.model),
      attention,
    }
  }

  #columns(): StepColumns {
    const all = this.#steps.rows()
    const kept = extremes(
      all.map(({ loss }) => loss),
      POINTS,
    )
    const rows = kept.map((i) => all[i] as StepRow)
    // a step is a number of its own, however large
    const value = (row: StepRow, name: keyof StepRow) =>
      name === 'step' ? row.step : rounded(row[name])
    const columns = NAMES.map((name) => [name, rows.map((row) => value(row, name))])
    return Object.fromEntries(columns)
  }
}
