// What `Trainer` and its loader take beside the steps themselves: node bench/trainer.mjs
//
// A model with one weight shows what a run takes beyond the same number of `trainStep`s, since its
// steps take next to nothing; batches have the shapes of the real models, whose steps are measured
// apart.

import { DataLoader, TokenArray, windows } from '../dist/data.mjs'
import * as x from '../dist/node.mjs'
import { Trainer, trainStep } from '../dist/train.mjs'
import { CHAR, language } from './compare/workloads.mjs'

const TINY = { num_tokens: 256, max_seq_len: 65, dim: 64, depth: 4, heads: 4 }
const MODELS = {
  char_train_step: { options: CHAR, batch: 8, length: 257, runs: 8, most: 1 },
  tiny_train_step: { options: TINY, batch: 4, length: 65, runs: 200, most: 5 },
}
const STEPS = 2000
const ROUNDS = 5

class One extends x.Module {
  weight = x.ones([1], { requires_grad: true })
  async forward() {
    return this.weight.sum()
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** Milliseconds that `run` takes, for each of `count` steps. */
async function timed(count, run) {
  const start = performance.now()
  await run()
  return (performance.now() - start) / count
}

/** Milliseconds of a run for each step, beyond those of single steps. */
async function overhead({ batch, length }) {
  const tokens = new TokenArray(Array.from({ length: 200_000 }, (_, i) => (i * i) % 256))
  const model = new One()
  const optimizer = new x.AdamW(model.parameters(), { lr: 1e-9 })
  const ids = x.randint(0, 256, [batch, length])
  const clip = { max_grad_norm: 0.5 }
  const single = async () => {
    for (let step = 0; step < STEPS; step++) await trainStep(model, optimizer, [[ids]], clip)
  }
  const whole = async () => {
    const data = new DataLoader(windows(tokens, { length }), { batch_size: batch, shuffle: true })
    await new Trainer(model, { data, optimizer, steps: STEPS, clip: 0.5 }).run()
  }
  const differences = []
  for (let round = 0; round < ROUNDS; round++) {
    const without = await timed(STEPS, single)
    differences.push((await timed(STEPS, whole)) - without)
  }
  return median(differences)
}

/** Milliseconds of a step of the model. */
async function stepTime({ options, batch, length, runs }) {
  const model = language(x, options)
  const optimizer = new x.AdamW(model.parameters(), { lr: 3e-4 })
  const ids = x.randint(0, 256, [batch, length])
  const step = () => trainStep(model, optimizer, [[ids]], { max_grad_norm: 0.5 })
  for (let i = 0; i < 3; i++) await step()
  const times = []
  for (let i = 0; i < runs; i++) times.push(await timed(1, step))
  return median(times)
}

for (const [name, model] of Object.entries(MODELS)) {
  const [own, step] = [await overhead(model), await stepTime(model)]
  const share = (100 * own) / step
  const verdict = share <= model.most ? 'at most' : 'MORE THAN'
  console.log(
    `${name}: ${own.toFixed(3)} ms beside ${step.toFixed(2)} ms, ${share.toFixed(2)} % (${verdict} ${model.most} %)`,
  )
  if (share > model.most) process.exitCode = 1
}
