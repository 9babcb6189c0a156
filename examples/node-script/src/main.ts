// Trains a small character model on text.txt, saves it, loads it again, and lets it write.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import {
  AdamW,
  AutoregressiveWrapper,
  cosineWarmup,
  Decoder,
  load,
  TransformerWrapper,
  trainStep,
} from 'x-transformers'
import { encode, randomRows, TOKENS } from './corpus.js'

const FILE = 'model.safetensors'
const LENGTH = 96

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '300' },
    prompt: { type: 'string', default: 'Call me ' },
  },
})

async function train(steps: number, signal: AbortSignal): Promise<void> {
  const attn_layers = new Decoder({
    dim: 128,
    depth: 3,
    heads: 4,
    attn_dim_head: 32,
    rotary_pos_emb: true,
  })
  const net = new TransformerWrapper({ num_tokens: TOKENS, max_seq_len: LENGTH, attn_layers })
  const model = new AutoregressiveWrapper(net)
  const optimizer = new AdamW(model.parameters(), { betas: [0.9, 0.99] })
  const schedule = cosineWarmup({ lr: 3e-3, warmup_steps: 10, total_steps: steps, min_lr: 3e-4 })
  const tokens = encode(readFileSync('text.txt', 'utf8'))
  for (let step = 0; step < steps && !signal.aborted; step++) {
    optimizer.lr = schedule(step)
    const batch = randomRows(tokens, 12, LENGTH)
    const { loss } = await trainStep(model, optimizer, [[batch]], { max_grad_norm: 1 })
    if (step % 20 === 0 || step === steps - 1) console.log(`step ${step}  loss ${loss.toFixed(3)}`)
  }
  await model.save(FILE)
}

async function write(prompt: string): Promise<void> {
  const model = (await load<AutoregressiveWrapper>(FILE)).eval()
  const decoder = new TextDecoder() // a character may be several tokens
  process.stdout.write(`\n${prompt}`)
  for await (const token of model.stream([encode(prompt)], 300, { temperature: 0.5 }))
    process.stdout.write(decoder.decode(Uint8Array.of(token), { stream: true }))
  process.stdout.write('\n')
}

// Ctrl-C ends the training; what was learned so far is saved.
const interrupt = new AbortController()
const stop = () => interrupt.abort()
process.on('SIGINT', stop)
await train(Number(values.steps), interrupt.signal)
process.off('SIGINT', stop)
await write(values.prompt)
