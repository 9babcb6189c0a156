// An encoder and a decoder learn to write a sequence again: twice, as in train_copy.py of the
// Python package, and from its end to its start.
import { parseArgs } from 'node:util'
import { manualSeed, randint, XTransformer } from 'x-transformers'
import { AdamW, cosineWarmup, decayGroups, Trainer } from 'x-transformers/train'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
/** The share of new sequences that are to be written without a single mistake. */
const goal = values.quick ? 0.5 : 0.99
const steps = Number(values.steps ?? (values.quick ? 110 : 400))
const length = values.quick ? 8 : 32
/** How many new sequences are tried. */
const tries = values.quick ? 200 : 1000

/** 1 begins an output; the sequences are of the tokens from 2 on. */
const [START, TOKENS] = [1, 16 + 2]

type Task = (sequence: number[]) => number[]
const TASKS: Record<string, Task> = {
  copy: (sequence) => [...sequence, ...sequence],
  reverse: (sequence) => [...sequence].reverse(),
}

/** New sequences, (rows, length), and what is to be written for each, with START before it. */
function draw(task: Task, rows: number): [src: number[][], tgt: number[][]] {
  const src = randint(2, TOKENS, [rows, length]).toArray() as number[][]
  return [src, src.map((sequence) => [START, ...task(sequence)])]
}

async function learn(task: Task): Promise<XTransformer> {
  const model = new XTransformer({
    dim: 128,
    tie_token_emb: true,
    enc_num_tokens: TOKENS,
    enc_max_seq_len: length,
    enc_depth: 2,
    enc_heads: 4,
    enc_attn_dim_head: 32,
    dec_num_tokens: TOKENS,
    dec_max_seq_len: 2 * length + 1,
    dec_depth: 2,
    dec_heads: 4,
    dec_attn_dim_head: 32,
  })
  const trainer = new Trainer(model, {
    data: () => draw(task, 32), // the arguments of forward
    optimizer: new AdamW(decayGroups(model, 0.01), { lr: 1e-3, betas: [0.9, 0.99] }),
    schedule: cosineWarmup({ lr: 1e-3, warmup_steps: 50, total_steps: steps, min_lr: 5e-5 }),
    steps,
    clip: 1,
  })
  await trainer.run((event) => {
    if (event.type === 'step' && event.step % 100 === 0)
      console.log(`step ${event.step}  loss ${event.loss.toFixed(4)}`)
  })
  return model
}

/** The share of new sequences that are written without a mistake. */
async function exactMatches(model: XTransformer, task: Task): Promise<number> {
  const [src, tgt] = draw(task, tries)
  const wanted = tgt.map((row) => row.slice(1))
  const starts = src.map(() => [START])
  const output = await model.generate(src, starts, wanted[0]?.length ?? 0, { temperature: 0 })
  const written = output.toArray() as number[][]
  return wanted.filter((row, i) => String(row) === String(written[i])).length / tries
}

manualSeed(1)
for (const [name, task] of Object.entries(TASKS)) {
  const start = performance.now()
  const model = await learn(task)
  const seconds = (performance.now() - start) / 1000
  const reached = await exactMatches(model, task)
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`
  console.log(
    `After ${seconds.toFixed(0)} s, ${name}: ${percent(reached)} of ${tries} new sequences`,
    `without a mistake; the goal is ${percent(goal)}.\n`,
  )
  if (reached < goal) process.exitCode = 1
}
