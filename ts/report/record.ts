import type { DoneEvent, StepEvent } from '../train/events.js'
import type { MetricsLine, RunLine } from '../train/log-files/jsonl.js'
import { codeOf } from './code.js'
import type { AttentionMaps, LayerNorms, RunData, StepColumns } from './data.js'
import { evenly, extremes, rounded } from './thin.js'

/** Most points of a curve, columns of a heat map, samples, and characters of one. */
const [POINTS, COLUMNS, SAMPLES, CHARACTERS] = [3000, 300, 200, 20_000]

/** Norms by layer, step by step. */
class Norms {
  readonly #steps: number[] = []
  readonly #norms: Record<string, number>[] = []

  add(step: number, norms: Record<string, number> | null | undefined): void {
    if (!norms) return
    this.#steps.push(step)
    this.#norms.push(norms)
  }

  data(): LayerNorms | null {
    if (this.#steps.length === 0) return null
    const kept = evenly(this.#steps.length, COLUMNS)
    const norms = kept.map((i) => this.#norms[i] as Record<string, number>)
    const layers = [...new Set(norms.flatMap((of) => Object.keys(of)))]
    const shown = (value: number | undefined) => (value === undefined ? null : rounded(value))
    return {
      layers,
      step: kept.map((i) => this.#steps[i] as number),
      values: layers.map((layer) => norms.map((of) => shown(of[layer]))),
    }
  }
}

/** Gathers a run from its lines. */
export class RunRecord {
  readonly #name: string
  #info: RunLine | null = null
  #started: string | null = null
  #done: DoneEvent | null = null
  #tokens = 0
  readonly #steps: StepColumns = {
    ...{ step: [], loss: [], lr: [], grad_norm: [], tokens: [] },
    ...{ tokens_per_second: [], seconds: [] },
  }
  readonly #evaluations: RunData['evaluations'] = { step: [], loss: [] }
  readonly #samples: RunData['samples'] = []
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
    else if (line.type === 'evaluation') {
      this.#evaluations.step.push(line.step)
      this.#evaluations.loss.push(rounded(line.loss))
    } else if (line.type === 'sample')
      this.#samples.push({ step: line.step, text: line.text.slice(0, CHARACTERS) })
    else if (line.type === 'done') this.#done = line
  }

  #addStep(event: StepEvent): void {
    const { step, loss, lr, grad_norm, tokens, tokens_per_second, seconds } = event
    this.#tokens += tokens
    const values = { step, loss, lr, grad_norm, tokens: this.#tokens, tokens_per_second, seconds }
    for (const [name, value] of Object.entries(values))
      (this.#steps[name as keyof StepColumns] as (number | null)[]).push(value)
    this.#grad_norms.add(step, event.grad_norms)
    this.#activation_norms.add(step, event.activation_norms)
  }

  /** What a page shows of it. */
  data(attention: AttentionMaps | null = null): RunData {
    const kept = extremes(this.#steps.loss, POINTS)
    const column = (values: readonly (number | null)[]) =>
      kept.map((i) => {
        const value = values[i] as number | null
        return value === null ? null : rounded(value)
      })
    const columns = Object.entries(this.#steps).map(([name, values]) => [name, column(values)])
    return {
      ...{ name: this.#name, info: this.#info, started: this.#started, done: this.#done },
      // a step is a number of its own, however large
      steps: { ...Object.fromEntries(columns), step: kept.map((i) => this.#steps.step[i]) },
      evaluations: this.#evaluations,
      samples: evenly(this.#samples.length, SAMPLES).map((i) => this.#samples[i] as never),
      grad_norms: this.#grad_norms.data(),
      activation_norms: this.#activation_norms.data(),
      code: this.#info && codeOf(this.#info.model),
      attention,
    }
  }
}
