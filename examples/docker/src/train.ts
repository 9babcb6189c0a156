// Trains the model that the server has: on text.txt, into model.safetensors.
import { readFileSync } from 'node:fs'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  TransformerWrapper,
  trainStep,
} from 'x-transformers'

const STEPS = Number(process.argv[2] ?? 300)
const LENGTH = 96
const ROWS = 12

const tokens = [...readFileSync('text.txt')] // each byte is a token
const randomRow = () => {
  const start = Math.floor(Math.random() * (tokens.length - LENGTH))
  return tokens.slice(start, start + LENGTH + 1)
}

const attn_layers = new Decoder({
  dim: 128,
  depth: 3,
  heads: 4,
  attn_dim_head: 32,
  rotary_pos_emb: true,
})
const net = new TransformerWrapper({ num_tokens: 256, max_seq_len: LENGTH, attn_layers })
const model = new AutoregressiveWrapper(net)
const optimizer = new AdamW(model.parameters(), { lr: 2e-3 })
for (let step = 0; step < STEPS; step++) {
  const batch = Array.from({ length: ROWS }, randomRow)
  const { loss } = await trainStep(model, optimizer, [[batch]], { max_grad_norm: 1 })
  if (step % 50 === 0 || step === STEPS - 1) console.log(`step ${step}  loss ${loss.toFixed(3)}`)
}
await model.save('model.safetensors')
