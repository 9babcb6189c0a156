// The model of the app: loaded from a file, or trained on text.txt where there is none yet.
import { existsSync, readFileSync } from 'node:fs'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  load,
  TransformerWrapper,
  trainStep,
} from 'x-transformers'

const STEPS = 300
const LENGTH = 96
const ROWS = 12

/** Each byte of UTF-8 is a token. */
const encode = (text) => [...new TextEncoder().encode(text)]

async function train(file, onStep) {
  const tokens = encode(readFileSync(new URL('text.txt', import.meta.url), 'utf8'))
  const randomRow = () => {
    const start = Math.floor(Math.random() * (tokens.length - LENGTH))
    return tokens.slice(start, start + LENGTH + 1)
  }
  const layers = { dim: 128, depth: 3, heads: 4, attn_dim_head: 32, rotary_pos_emb: true }
  const attn_layers = new Decoder(layers)
  const net = new TransformerWrapper({ num_tokens: 256, max_seq_len: LENGTH, attn_layers })
  const model = new AutoregressiveWrapper(net)
  const optimizer = new AdamW(model.parameters(), { lr: 2e-3 })
  for (let step = 0; step < STEPS; step++) {
    const batch = Array.from({ length: ROWS }, randomRow)
    const { loss } = await trainStep(model, optimizer, [[batch]], { max_grad_norm: 1 })
    onStep(step, STEPS, loss)
  }
  await model.save(file)
}

export async function loadOrTrain(file, onStep) {
  if (!existsSync(file)) await train(file, onStep)
  return (await load(file)).eval()
}

/** Text that follows the prompt, piece by piece. */
export async function* write(model, prompt, signal) {
  const decoder = new TextDecoder()
  const start = [encode(prompt || '\n')]
  for await (const token of model.stream(start, 300, { temperature: 0.5, signal }))
    yield decoder.decode(Uint8Array.of(token), { stream: true })
}
