// A decoder over vectors in place of tokens continues time series: it reads three days, hour by
// hour, and forecasts the next one.
import { parseArgs } from 'node:util'
import {
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  Decoder,
  manualSeed,
} from 'x-transformers'
import { AdamW, cosineWarmup, decayGroups, Trainer } from 'x-transformers/train'
import { drawSeries, unavoidable } from './series.js'

const { values: given } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
const steps = Number(given.steps ?? (given.quick ? 250 : 2500))
const [PAST, FUTURE] = [72, 24]

manualSeed(1)
const model = new ContinuousAutoregressiveWrapper(
  new ContinuousTransformerWrapper({
    dim_in: 1,
    dim_out: 1,
    max_seq_len: PAST + FUTURE,
    attn_layers: new Decoder({
      dim: 64,
      depth: given.quick ? 2 : 3,
      heads: 4,
      attn_dim_head: 16,
      rotary_pos_emb: true,
    }),
  }),
)

/** (count, length, 1): a vector for each hour, of one number. */
const vectors = (rows: number[][]) => rows.map((row) => row.map((value) => [value]))

const trainer = new Trainer(model, {
  data: () => [vectors(drawSeries(32, PAST + FUTURE).map(({ values }) => values))],
  optimizer: new AdamW(decayGroups(model, 0.05), { lr: 3e-3 }),
  schedule: cosineWarmup({ lr: 3e-3, warmup_steps: 50, total_steps: steps, min_lr: 3e-5 }),
  steps,
  clip: 1,
})
const { seconds } = await trainer.run((event) => {
  if (event.type === 'step' && event.step % 250 === 0)
    console.log(`step ${event.step}  loss ${event.loss.toFixed(4)}  ${event.seconds.toFixed(0)} s`)
})

const test = drawSeries(500, PAST + FUTURE)
const past = test.map(({ values }) => values.slice(0, PAST))
const future = test.map(({ values }) => values.slice(PAST))

/** The mean squared error of a forecast, (series, FUTURE). */
function errorOf(forecast: number[][]): number {
  const squares = future.flatMap((row, i) =>
    row.map((value, hour) => (value - (forecast[i]?.[hour] ?? 0)) ** 2),
  )
  return squares.reduce((a, b) => a + b) / squares.length
}

const output = await model.generate(vectors(past), FUTURE) // (series, FUTURE, 1)
const forecast = (output.toArray() as number[][][]).map((row) => row.map(([value]) => value ?? 0))
const hours = Array.from({ length: FUTURE }, (_, hour) => hour)
const errors = {
  model: errorOf(forecast),
  /** As it is now. */
  last: errorOf(past.map((row) => hours.map(() => row.at(-1) ?? 0))),
  /** As it was one cycle before. Its length is told here; the model has to find it. */
  cycle: errorOf(
    test.map(({ values, period }) =>
      hours.map((hour) => values[PAST - period + (hour % period)] ?? 0),
    ),
  ),
}
/** Below both; after a short run, far below the simpler one. */
const goal = given.quick ? 0.45 * errors.last : 0.9 * Math.min(errors.last, errors.cycle)

/** Values as a row of bars. */
const bars = (row: number[]) =>
  row.map((value) => '▁▂▃▄▅▆▇█'[Math.min(7, Math.max(0, Math.round(2 * value + 3.5)))]).join('')

console.log(`
one series  ${bars(past[0] ?? [])}${bars(future[0] ?? [])}
forecast    ${' '.repeat(PAST)}${bars(forecast[0] ?? [])}

Mean squared error over ${FUTURE} hours, of 500 new series:
as it is now                  ${errors.last.toFixed(4)}
as it was one cycle before    ${errors.cycle.toFixed(4)}
the model, after ${seconds.toFixed(0).padStart(3)} s        ${errors.model.toFixed(4)}; the goal is ${goal.toFixed(4)}
the noise to come             ${unavoidable(FUTURE).toFixed(4)}`)
process.exitCode = errors.model <= goal ? 0 : 1
