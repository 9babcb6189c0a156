// An encoder learns to fill in hidden pieces of words, as BERT does
// (https://arxiv.org/abs/1810.04805).
import { parseArgs } from 'node:util'
import { Encoder, manualSeed, noGrad, type Tensor, TransformerWrapper } from 'x-transformers'
import { AdamW, cosineWarmup, decayGroups, type TrainBatch, Trainer } from 'x-transformers/train'
import { heldOut, IGNORED, LENGTH, MASK, maskedRows, tokenizer, toLearn } from './masking.js'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
/** The share of the hidden tokens of held-out text that is to be guessed. */
const goal = values.quick ? 0.08 : 0.38
const steps = Number(values.steps ?? (values.quick ? 150 : 1200))

manualSeed(1)
const model = new TransformerWrapper({
  num_tokens: tokenizer.vocabSize,
  max_seq_len: LENGTH,
  attn_layers: new Encoder({
    dim: values.quick ? 64 : 128,
    depth: values.quick ? 2 : 4,
    heads: values.quick ? 2 : 4,
    attn_dim_head: 32,
    rotary_pos_emb: true,
    shift_tokens: 1, // a third of each vector is that of the token before, a third that of the next
  }),
})

const held: TrainBatch[] = Array.from({ length: 8 }, () => maskedRows(heldOut, 64))

/** The share of the hidden tokens that are guessed. */
async function accuracy(): Promise<number> {
  let [right, all] = [0, 0]
  for (const { args, target } of held) {
    const [rows, hidden] = [args[0] as Tensor, target as Tensor] // (64, LENGTH) both
    using logits = await noGrad(() => model.forward(rows)) // (64, LENGTH, tokens)
    right += Number(logits.argmax(-1).eq(hidden).to('f32').sum().item())
    all += Number(hidden.ne(IGNORED).to('f32').sum().item())
  }
  return right / all
}

const trainer = new Trainer(model, {
  data: () => maskedRows(toLearn, 32),
  objective: { kind: 'cross_entropy', ignore_index: IGNORED },
  optimizer: new AdamW(decayGroups(model, 0.05), { lr: 3e-3, betas: [0.9, 0.99] }),
  schedule: cosineWarmup({ lr: 3e-3, warmup_steps: 50, total_steps: steps, min_lr: 2e-5 }),
  steps,
  clip: 1,
  eval: { data: held, every: 100 },
})

console.log(`${model.numParameters} parameters read ${toLearn.length} tokens`)
for await (const event of trainer) {
  if (event.type === 'evaluation')
    console.log(`step ${event.step}  loss on held-out text ${event.loss.toFixed(3)}`)
  if (event.type !== 'done') continue

  const reached = await accuracy()
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`
  console.log(
    `\nAfter ${event.seconds.toFixed(0)} s, ${percent(reached)} of the hidden tokens are guessed;`,
    `the goal is ${percent(goal)}.\n`,
  )
  process.exitCode = reached >= goal ? 0 : 1
}

/** Writes the likeliest token in each hidden place. */
async function fill(text: string): Promise<string> {
  const ids = tokenizer.encode(text)
  const logits = await noGrad(() => model.forward([ids])) // (1, length, tokens)
  const [best] = logits.argmax(-1).toArray() as number[][]
  return tokenizer.decode(ids.map((id, i) => (id === MASK ? (best?.[i] ?? id) : id)))
}

for (const text of [
  'the white[MASK]',
  'he looked[MASK] the boat',
  'not a[MASK] more than the other',
])
  console.log(`${text}  →  ${await fill(text)}`)
