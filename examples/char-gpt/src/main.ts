// A small GPT learns to write like "Moby Dick", character by character.
import { parseArgs } from 'node:util'
import { AutoregressiveWrapper, Decoder, manualSeed, TransformerWrapper } from 'x-transformers'
import { DataLoader, randomWindows, windows } from 'x-transformers/data'
import { AdamW, cosineWarmup, decayGroups, Trainer } from 'x-transformers/train'
import { heldOut, tokenizer, toLearn } from './book.js'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    steps: { type: 'string' },
    out: { type: 'string', default: 'run' },
    prompt: { type: 'string', default: 'Call me ' },
  },
})
/** The loss on held-out text that is to be reached, in nats per character. */
const goal = values.quick ? 2.8 : 1.5
const steps = Number(values.steps ?? (values.quick ? 40 : 2000))
const length = 128

manualSeed(42)
const model = new AutoregressiveWrapper(
  new TransformerWrapper({
    num_tokens: tokenizer.vocabSize,
    max_seq_len: length,
    attn_layers: new Decoder({
      dim: 128,
      depth: 4,
      heads: 4,
      attn_dim_head: 32,
      rotary_pos_emb: true,
    }),
  }),
)

// Ctrl-C ends the run with a checkpoint; the next start goes on from there.
const interrupt = new AbortController()
process.once('SIGINT', () => interrupt.abort())

const trainer = new Trainer(model, {
  // (batch, length + 1): each id is the target of those before it
  data: new DataLoader(randomWindows(toLearn, { length }), {
    batch_size: 16,
    shuffle: 'with_replacement',
    seed: 42,
  }),
  optimizer: new AdamW(decayGroups(model, 0.1), { lr: 3e-3, betas: [0.9, 0.99] }),
  schedule: cosineWarmup({ lr: 3e-3, warmup_steps: 50, total_steps: steps, min_lr: 1e-4 }),
  steps,
  clip: 1,
  eval: {
    data: new DataLoader(windows(heldOut, { length }), { batch_size: 32 }),
    every: 500,
    batches: values.quick ? 4 : undefined,
  },
  checkpoint: { folder: values.out },
  resume: true,
  signal: interrupt.signal,
})

console.log(`${model.numParameters} parameters read ${toLearn.length} characters`)
for await (const event of trainer) {
  if (event.type === 'step' && event.step % 50 === 0)
    console.log(`step ${event.step}  loss ${event.loss.toFixed(3)}  ${event.seconds.toFixed(0)} s`)
  if (event.type === 'evaluation')
    console.log(`step ${event.step}  loss on held-out text ${event.loss.toFixed(3)}`)
  if (event.type !== 'done' || event.reason === 'aborted') continue

  const loss = event.eval_loss ?? Infinity
  process.exitCode = loss <= goal ? 0 : 1
  console.log(
    `\nAfter ${event.seconds.toFixed(0)} s, the loss on held-out text is ${loss.toFixed(3)} nats per`,
    `character; the goal is ${goal}.\n`,
  )
}

process.stdout.write(values.prompt)
const prompt = [tokenizer.encode(values.prompt)] // (1, length)
for await (const id of model.stream(prompt, values.quick ? 50 : 500, { temperature: 0.8 }))
  process.stdout.write(tokenizer.decode([id]))
process.stdout.write('\n')
